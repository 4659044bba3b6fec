"""How long a network takes, on what machine, and how sure that is.

Enters clocks, statistics and the facts of a machine. Where it runs is `targets`.
"""
