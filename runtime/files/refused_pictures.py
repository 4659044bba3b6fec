"""Pictures that an object store refused: a failure each, or the end where it refuses all.

A store may deny one object of a bucket, and S3 denies also those that are not there to whom it
does not list the bucket. Nor is one denial a failure of each picture, where the bucket is closed.
"""

from collections.abc import Callable
from typing import Final

from nstc.core.errors import AccessError
from nstc.runtime.files.batch import PictureOutcome
from nstc.runtime.files.object_stores import bucket_of

MOST_REFUSED: Final = 100
"""Of a bucket that gave none: more are not asked for."""


class RefusedPictures:
    """Holds refusals back until another picture of their bucket is given."""

    def __init__(self, on_outcome: Callable[[PictureOutcome], None]) -> None:
        """`on_outcome` receives every outcome that is not held, and later those that were."""
        self._on_outcome = on_outcome
        self._held: dict[str, list[PictureOutcome]] = {}
        # Buckets of which pictures could be read, now or in the run that made what is skipped.
        self._giving: set[str] = set()
        self._has_others = False

    def add(self, outcome: PictureOutcome) -> None:
        """Pass an outcome on or hold it; `AccessError` if its bucket refuses all pictures."""
        bucket = bucket_of(outcome.source)
        if isinstance(outcome.error, AccessError) and bucket not in self._giving:
            held = self._held.setdefault(bucket, [])
            held.append(outcome)
            if len(held) >= MOST_REFUSED:
                raise self._refusal_of(bucket)
            return
        self._has_others = True
        self._on_outcome(outcome)
        self._giving.add(bucket)
        self._release(bucket)

    def end(self) -> None:
        """There are no more outcomes; `AccessError` if all were refusals."""
        for bucket in self._held:
            if not self._has_others:
                raise self._refusal_of(bucket)
        self.release()

    def release(self) -> None:
        """Pass on what is held; for runs that end early, other than by refusals."""
        for bucket in list(self._held):
            self._release(bucket)

    def _release(self, bucket: str) -> None:
        for outcome in self._held.pop(bucket, []):
            self._on_outcome(outcome)

    def _refusal_of(self, bucket: str) -> AccessError:
        """The one error that stands for all that are held, which are forgotten."""
        held = self._held[bucket]
        self._held = {}
        others = f" {bucket} gave none of the {len(held)} pictures that were asked for."
        return AccessError(f"{held[0].error}{others if len(held) > 1 else ''}")
