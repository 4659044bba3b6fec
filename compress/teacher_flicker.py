"""How much each picture of a teacher flickers: four pictures more, asked for once."""

import json
from typing import Final

from nstc.benchmarks.flicker import flicker
from nstc.compress.teacher_outputs import TeacherOutputs, damaged
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.files import atomic_file

_LEAST_FLICKER: Final = 0.002
"""Of a teacher: pictures that never change are nothing to divide by."""


class TeacherFlicker:
    """How much each of a teacher's pictures flickers, kept on disk beside them.

    Args:
        pairs: Photographs and the pictures; those asked about must be made.
    """

    def __init__(self, pairs: TeacherOutputs) -> None:
        self._pairs = pairs
        self.folder = pairs.folder

    def __len__(self) -> int:
        return len(self._pairs)

    def missing(self) -> list[int]:
        """Indices of those that are not known yet."""
        return [i for i in range(len(self)) if not self._pairs.file(i, ".flicker.json").is_file()]

    def make(self, index: int) -> None:
        """Ask the teacher for four more pictures, see `nstc.benchmarks.flicker`, and keep it.

        Raises:
            OutputError: the cache can't be written.
        """
        found = flicker(self._pairs.teacher, *self._pairs[index])
        with atomic_file(self._pairs.file(index, ".flicker.json")) as draft:
            draft.write_text(json.dumps(found), encoding="utf-8")

    def __getitem__(self, index: int) -> float:
        """From 0.002 to 1.

        Raises:
            CorruptBundleError: the cached file is damaged.
        """
        file = self._pairs.file(index, ".flicker.json")
        try:
            return max(decode(parse_json(read_file(file)), float), _LEAST_FLICKER)
        except (OSError, DecodingError) as error:
            raise damaged(file) from error
