"""How near a student's pictures are to its teacher's: one module a family of metrics.

Enters what compares pictures; what compares times is `timing`.
"""
