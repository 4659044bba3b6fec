"""What a pickle names and how it is nested, found by reading its instructions and running none."""

import contextlib
import io
import pickletools
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NamedTuple

from torch.serialization import MAGIC_NUMBER

LARGEST_PICKLE: Final = 256 * 2**20
"""Bytes of a pickle that is read. Beside tensors, which it only names, it may hold NumPy arrays."""

MOST_INSTRUCTIONS: Final = 500_000
"""A state dict has some thousands, and a history of losses one for each. Their reader is slow, and
each may make an object."""

_DEEPEST_TUPLE: Final = 100
"""Python ends the process when it is asked for the hash of one that is nested very deep."""

_RENAMED: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}

_DAMAGED: Final = (
    ValueError,
    LookupError,
    OSError,
    EOFError,
    TypeError,
    OverflowError,
    MemoryError,
    StopIteration,
    zipfile.BadZipFile,
    RuntimeError,
)
"""What reading a damaged archive or pickle raises."""


class OverlongPickleError(Exception):
    """A pickle that would take minutes to read, and gigabytes, or end the process."""


@dataclass
class Pickle:
    """What a pickle says of itself, found without running it."""

    names: set[str] = field(default_factory=set)  # classes and functions it names
    protocol: int = 0  # its version
    whole: bool = False  # whether its end was found
    magic: bool = False  # whether it is the first one of torch.save's older format

    def scan(self, stream: IO[bytes]) -> None:
        """Read it up to its end.

        Raises:
            OverlongPickleError: it has too many instructions, or nests tuples too deep.
            ValueError: it is damaged, or not a pickle; so does IndexError say.
        """
        stack: list[_Value | None] = []  # None is a mark
        memo: dict[int, _Value | None] = {}
        for number, (code, argument, _) in enumerate(pickletools.genops(stream)):
            if number > MOST_INSTRUCTIONS:
                raise OverlongPickleError
            if code.name == "PROTO":
                self.protocol = int(argument or 0)
            elif code.name in {"GLOBAL", "INST"}:
                module, _, name = str(argument).partition(" ")
                self.names.add(f"{_RENAMED.get(module, module)}.{name}")
            elif code.name == "STACK_GLOBAL":
                self.names.add(".".join(str(value and value.text) for value in stack[-2:]))
            elif code.name.endswith("PUT") or code.name == "MEMOIZE":
                memo[len(memo) if argument is None else int(argument)] = stack[-1]
                continue
            made = memo.get(int(argument or 0)) if code.name.endswith("GET") else None
            taken = _taken(stack, code)
            if code.name.startswith("TUPLE"):
                made = _Value(1 + max((value.depth for value in taken if value), default=0))
                if made.depth > _DEEPEST_TUPLE:
                    raise OverlongPickleError
            if code.name == "MARK":
                stack.append(None)
            else:
                made = made or _Value(0, argument if isinstance(argument, str) else None)
                stack.extend([made] * len(code.stack_after))
            self.magic |= argument == MAGIC_NUMBER
        self.whole = True


class _Value(NamedTuple):
    """What the scan knows of a value: how deep tuples are nested in it, and its text if any."""

    depth: int
    text: str | None = None


def _taken(stack: list[_Value | None], code: pickletools.OpcodeInfo) -> list[_Value | None]:
    """Take off the stack what an instruction takes."""
    before = code.stack_before
    if pickletools.stackslice not in before:
        return [stack.pop() for _ in before]
    taken = []
    while (value := stack.pop()) is not None:
        taken.append(value)
    for _ in range(before.index(pickletools.markobject)):
        stack.pop()
    return [*taken]


def pickles_of(path: Path) -> list[Pickle]:
    """The pickles of a file of torch.save, or a bare one, as far as they can be read.

    Raises:
        OverlongPickleError: one must not be read.
    """
    found: list[Pickle] = []
    try:
        with contextlib.ExitStack() as opened:
            if zipfile.is_zipfile(path):
                archive = opened.enter_context(zipfile.ZipFile(path))
                name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
                with archive.open(name) as packed:
                    content = packed.read(LARGEST_PICKLE + 1)
                if len(content) > LARGEST_PICKLE:
                    raise OverlongPickleError
                streams = [io.BytesIO(content)]
            else:
                file = opened.enter_context(path.open("rb"))
                # In memory, where a length that is not true gets no more than there is. Of the
                # older format: a number that marks it, its version, the machine, what was saved.
                streams = [io.BytesIO(file.read(LARGEST_PICKLE))] * 4
            for stream in streams:
                found.append(Pickle())
                found[-1].scan(stream)
    except _DAMAGED:
        return found  # what came before the damage
    return found
