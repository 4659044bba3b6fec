"""Narrower and shorter networks, and the analysis that says where to cut.

Enters what chooses, removes or weighs channels and blocks. Training afterwards is `distillation`.
"""
