"""What modules inside a network make while it runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn


@contextmanager
def watched(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """The outputs of some modules, in their order, of the run inside."""
    found: dict[int, Tensor] = {}
    outputs: list[Tensor] = []
    with ExitStack() as hooks:
        for place, module in enumerate(modules):

            def keep(_module: nn.Module, _inputs: object, output: Tensor, at: int = place) -> None:
                found[at] = output

            hooks.enter_context(_hook(module, keep))
        yield outputs
    outputs.extend(found[place] for place in range(len(modules)))


@contextmanager
def _hook(module: nn.Module, keep: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()
