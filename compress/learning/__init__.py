"""The training loop that every learned step shares: optimisers, averages, checkpoints, processes.

What is learned, and from what, is the business of `training` and `distillation`; this room knows
neither. Enters what two kinds of training use.
"""
