"""What targets share that run portable files in another runtime on this machine's cores.

Such a runtime takes float pictures, in a graph of one size. The reference is its float file for any
size, since a teacher has no portable one.
"""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets import base
from nstc.benchmarks.targets.base import Measurement
from nstc.benchmarks.timing.machine import pinned
from nstc.core import Progress, bundle
from nstc.core.errors import CorruptBundleError, OptionError, TargetError
from nstc.core.images import Pixels
from nstc.core.portable_names import Portable
from nstc.core.recipe import BenchRecipe
from nstc.runtime.arrays import checked, to_unit_nchw, unit_to_pixels
from nstc.runtime.onnx_session import first_line
from nstc.runtime.session import Session

Floats = npt.NDArray[np.float32]
Load = Callable[[Path, int], Callable[[Floats], Floats]]
"""Opens a float file with so many threads, as a function of (1, 3, H, W) in [0, 1]."""
_INT8: Final = "int8.onnx"


class RuntimeSession:
    """A float file in another runtime, with a thread on each of some cores.

    See `nstc.runtime.session.Session`. `TargetError` if the runtime, called `shown`, can't load it.
    """

    def __init__(
        self, path: Path, artifact: str, cores: tuple[int, ...], load: Load, shown: str
    ) -> None:
        self.path, self.artifact = path, artifact
        self._cores, self._load, self._shown = cores, load, shown
        portable = Portable.called(artifact)
        self.fixed_size = None if portable is None else portable.size
        self._run = self._told(load, path, len(cores))

    def _told(self, call: Callable[..., Any], *given: Any) -> Any:
        try:
            with pinned(self._cores):  # threads that begin here stay on these cores
                return call(*given)
        # each has classes of errors of its own, which are not there where it is not installed
        except Exception as error:
            raise TargetError(
                f"{self._shown} can't run {self.path.name}: {first_line(error):.300}"
            ) from error

    def reopened(self) -> "RuntimeSession":
        """The same file in a new session."""
        return RuntimeSession(self.path, self.artifact, self._cores, self._load, self._shown)

    def prepare(self, rgb: Pixels) -> Floats:
        """(H, W, 3) uint8 as (1, 3, H, W) in [0, 1]; `OptionError` if it is of another size."""
        size = checked(rgb).shape[:2]
        fixed = self.fixed_size
        if fixed is not None and fixed != size:
            raise OptionError(
                f"{self.path.name} takes pictures of {fixed[0]}x{fixed[1]} (height x width) only, "
                f"this one is {size[0]}x{size[1]}: resize it."
            )
        return np.ascontiguousarray(to_unit_nchw(rgb))

    def infer(self, feed: Floats) -> Floats:
        """Run the graph; `CorruptBundleError` if the output is not of the input's size."""
        raw: Floats = self._told(self._run, feed)
        if raw.shape != feed.shape:
            raise CorruptBundleError(
                f"{self.path} gives {list(raw.shape)} of {list(feed.shape)} in {self._shown}: "
                "expected a picture of the same size."
            )
        return raw

    def finish(self, raw: Floats) -> Pixels:
        """What the graph gave as (H, W, 3) uint8; `UnusableModelError` if it is not finite."""
        return unit_to_pixels(raw[0].transpose(1, 2, 0), self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; raises what the three raise."""
        return self.finish(self.infer(self.prepare(rgb)))


@dataclass(frozen=True, kw_only=True)
class RuntimeTarget:
    """Another runtime on cores of this machine; its subclasses say which files it runs."""

    name: str  # as in results and after `--target`: opencv:2
    runtime: str  # with its version: opencv 5.0.0
    cores: tuple[int, ...]  # numbers of the cores that the threads are pinned to
    draws_on: str  # its pictures are judged by themselves: each rounds in another way
    reports_memory: ClassVar[bool] = False

    def measure(
        self, sessions: Sequence[Session], picture: Pixels, recipe: BenchRecipe, progress: Progress
    ) -> Measurement:
        """Alternate within this process, by the time of day: a runtime's threads are its own."""
        place: base.Place = {"runtime": self.runtime, "threads": len(self.cores)}
        with pinned(self.cores):
            return base.measured(sessions, picture, recipe, progress, place)


@dataclass(frozen=True, kw_only=True)
class PortableTarget(base.FloatReference, RuntimeTarget):
    """A runtime of portable files; see `nstc.benchmarks.targets.base.Target`."""

    load: Load
    runs_integers: bool = True  # whether it reads int8 files

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """The portable float file, and that of an int8 file where there is one and it runs."""
        held = () if subject.bundle is None else subject.bundle.artifacts
        quantized = self.runs_integers and _INT8 in held
        return tuple(
            Portable(size=(size, size), edges="float", quantized=own).artifact
            for own in ((False, True) if quantized else (False,))
        )

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:  # noqa: ARG002
        """A session on a float file of a bundle; raises as `Target.open`."""
        name = bundle.artifact_name(artifact)
        portable = Portable.called(name)
        fits = portable is not None and portable.edges == "float"
        if portable is not None and portable.quantized:
            fits = fits and self.runs_integers
        if name != FLOAT and not fits:
            integers = "" if self.runs_integers else " that are not quantized"
            raise OptionError(
                f"target {self.name} runs {FLOAT} and portable files with edges of floats"
                f"{integers}, not {artifact}: leave --artifact out."
            )
        path = subject.store(base.bundle_of(self.name, subject), name, trust=subject.trust)
        return RuntimeSession(path, name, self.cores, self.load, self.runtime)


def version_of(package: str, shown: str, install: str) -> str:
    """The version of a runtime's package, as it is imported: pip may call it something else.

    `TargetError` if it can't be loaded, which says what to install.
    """
    try:
        version: str = importlib.import_module(package).__version__
    except (ImportError, AttributeError) as error:  # such as a library that a server lacks
        raise TargetError(
            f"{shown} can't be loaded: {first_line(error)}. Install {install}."
        ) from error
    return version.partition("-")[0]  # a build's number follows in OpenVINO's


def portable_kind(
    name: str,
    shown: str,
    load: Load,
    *,
    packages: Sequence[str],
    needs: str,
    install: str,
    summary: str,
    runs_integers: bool = True,
) -> base.TargetKind:
    """The kind of target for a runtime of the extra `everywhere`: NAME[:N], with N threads.

    Args:
        name: As after `--target`.
        shown: The runtime as it is written.
        load: Opens a file.
        packages: What must be installed, as they are imported.
        needs: These in words, where one is missing.
        install: What to install anew, as pip names it, where the first of them can't be loaded.
        summary: A line on the target.
        runs_integers: Whether it reads int8 files.
    """

    def availability() -> str | None:
        if all(importlib.util.find_spec(package) is not None for package in packages):
            return None
        return f'it needs {needs}: pip install "nstc[everywhere]"'

    def make(argument: str | None) -> PortableTarget:
        runtime = f"{shown} {version_of(packages[0], shown, install)}"
        cores = base.chosen_cores(name, argument)
        return PortableTarget(
            name=f"{name}:{len(cores)}",
            runtime=runtime,
            cores=cores,
            load=load,
            draws_on=name,
            runs_integers=runs_integers,
        )

    return base.TargetKind(
        form=f"{name}[:N]", summary=summary, make=make, availability=availability
    )
