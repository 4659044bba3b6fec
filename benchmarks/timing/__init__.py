"""Time and its uncertainty: clocks, statistics, facts of a machine. Where it runs is `targets`."""
