"""What this machine can do, and which operators of a network its accelerators would take.

Enters what looks and times nothing: `targets` and `timing` measure.
"""
