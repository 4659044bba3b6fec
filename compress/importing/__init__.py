"""Checkpoints of others, read without running what is in them, as bundles.

Enters what reads or judges somebody else's weights; graphs of others are `graphs` and `export`.
"""
