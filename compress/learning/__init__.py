"""The training loop that every verb shares: optimisers, checkpoints, logs, processes.

Enters what two kinds of training use; what is trained, and on what, is theirs.
"""
