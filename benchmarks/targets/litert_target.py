"""LiteRT on cores of this machine, which runs files that litert-torch converts for one size."""

import functools
from typing import Final

from nstc.benchmarks.subjects import Probe, Subject
from nstc.benchmarks.targets import base
from nstc.benchmarks.targets.portable_target import RuntimeTarget, version_of
from nstc.benchmarks.timing.machine import pinned
from nstc.core.errors import OptionError
from nstc.runtime.litert import LitertSession, litert_artifact, litert_size, missing_litert
from nstc.runtime.session import Session

_NAME: Final = "litert"


class LitertTarget(RuntimeTarget):
    """LiteRT, which runs teachers too; see `nstc.benchmarks.targets.base.Target`."""

    def reference_artifact(self, size: int) -> str:
        """The file for that size."""
        return litert_artifact((size, size))

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:  # noqa: ARG002
        """The same, which is float."""
        return (self.reference_artifact(size),)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:  # noqa: ARG002
        """A session on a file of a bundle; raises as `Target.open`."""
        if litert_size(artifact) is None:
            raise OptionError(
                f"target {self.name} runs LiteRT files of one size, such as 256x256.tflite, not "
                f"{artifact}: leave --artifact out."
            )
        own = base.bundle_of(self.name, subject)
        # not pinned: what converts a file that is missing starts threads that outlive it
        path = subject.store(own, artifact, trust=subject.trust)
        with pinned(self.cores):
            return LitertSession(path, artifact, len(self.cores))


def _litert(argument: str | None) -> LitertTarget:
    cores = base.chosen_cores(_NAME, argument)
    return LitertTarget(
        name=f"{_NAME}:{len(cores)}",
        runtime=f"LiteRT {version_of('ai_edge_litert', 'LiteRT', 'ai-edge-litert')}",
        cores=cores,
        draws_on=_NAME,
    )


LITERT: Final = base.TargetKind(
    form=f"{_NAME}[:N]",
    summary="LiteRT, float, a file converted for --size; N threads on N cores; all without N",
    make=_litert,
    availability=functools.partial(missing_litert, "litert_torch"),
)
