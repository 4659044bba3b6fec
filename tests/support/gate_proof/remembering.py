"""A session that draws each picture once."""

import hashlib
from typing import Any, Final

from nstc.core.images import Pixels
from nstc.runtime.session import Session

_DRAWN: Final[dict[tuple[str, tuple[int, ...], str], Pixels]] = {}


class Remembering:
    """A session whose pictures are kept, for all that open the same file.

    All faults of a run are judged on the same photographs, beside the same pictures of the teacher,
    which take half of a check to draw.
    """

    def __init__(self, session: Session):
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, rgb: Pixels) -> Pixels:
        key = str(self._session.path), rgb.shape, hashlib.sha256(rgb.tobytes()).hexdigest()
        if key not in _DRAWN:
            _DRAWN[key] = self._session.run(rgb)
        return _DRAWN[key].copy()
