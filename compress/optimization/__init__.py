"""Optimisation of an image: stylised without a network, by gradient descent on its pixels.

Enters what is of a single picture; losses are in `nstc.models.losses`.
"""
