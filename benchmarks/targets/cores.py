"""The cores that a target's name asks for."""

from nstc.benchmarks.machine import usable_cores
from nstc.core.errors import OptionError


def chosen_cores(kind: str, argument: str | None) -> tuple[int, ...]:
    """Numbers of the cores that `kind:argument` computes on, one for each thread.

    Args:
        kind: What stands before the colon.
        argument: The number of threads behind it; None is all cores.

    Raises:
        OptionError: it is no number of threads, or there are fewer cores.
    """
    cores = usable_cores()
    if argument is None:
        return cores
    if not (argument.isascii() and argument.isdigit() and int(argument) > 0):
        raise OptionError(
            f"no target '{kind}:{argument}': expected a number of threads, as in {kind}:2."
        )
    threads = int(argument)
    if threads > len(cores):
        raise OptionError(
            f"{kind}:{threads} needs {threads} cores and this process may use {len(cores)}: "
            f"give --target {kind}:{len(cores)} or fewer."
        )
    return cores[:threads]
