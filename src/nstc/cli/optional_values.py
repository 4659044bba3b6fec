"""Flags whose value may be left out: `--ray` alone, or `--ray ADDRESS`."""

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperCommand

_FLAG = "--ray"
_ALONE = "local"  # what it stands for without a value


class VerbCommand(TyperCommand):
    """A verb's command. The word after `--ray` is its value if it is an address by its form."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read a command line."""
        if any(_FLAG in own.opts for own in self.params):
            args = [*_with_values(args)]
        return list(super().parse_args(ctx, args))


def _with_values(args: Sequence[str]) -> Iterator[str]:
    from nstc.runtime.ray_cluster import is_ray_address

    for place, word in enumerate(args):
        if word == "--":
            yield from args[place:]
            return
        follows = args[place + 1] if place + 1 < len(args) else ""
        is_value = is_ray_address(follows) or follows.startswith("ray://")
        yield f"{_FLAG}={_ALONE}" if word == _FLAG and not is_value else word
