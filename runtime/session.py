"""A file of a bundle, opened and ready to run, whatever kind of file it is."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from nstc.core.bundle import Bundle, artifact_name, open_bundle
from nstc.core.errors import MissingExtraError, OptionError
from nstc.core.images import Pixels
from nstc.runtime import executorch_session, onnx_session, torchscript_session
from nstc.runtime.artifact_cache import Artifacts, find_artifact
from nstc.runtime.providers import CPU, provider_chain

DEFAULT_ARTIFACT: Final = "int8"

FLOAT_ARTIFACT: Final = "float"

MAX_THREADS: Final = 256
"""More are refused: some ten thousand threads take all the memory there is."""


class Session(Protocol):
    """An opened graph. `run` is `prepare`, `infer`, `finish`, which benchmarks time apart."""

    @property
    def artifact(self) -> str:
        """The artifact's full name, such as int8.onnx."""

    @property
    def path(self) -> Path:
        """The file."""

    def prepare(self, rgb: Pixels) -> Any:
        """A picture (H, W, 3) uint8 as what the graph takes.

        Raises:
            ImageError: it is no picture, or larger than the file takes.
            OptionError: the graph takes one size only, and this is another.
        """

    def infer(self, feed: Any) -> Any:
        """Run the graph, and nothing else.

        Raises:
            ImageError: it failed on a picture of this size, for want of memory as a rule.
        """

    def finish(self, raw: Any) -> Pixels:
        """What the graph gave as a picture (H, W, 3) uint8.

        Raises:
            UnusableModelError: it is not finite.
        """

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8 to the same size; raises what the three raise."""


@dataclass(frozen=True)
class Backend:
    """A way to run files of one ending."""

    # Gives None if it can run here, or what is missing and how to install it.
    availability: Callable[[], str | None]
    # From the file, its artifact name and a number of threads to a session.
    open: Callable[[Path, str, int | None], Session]


BACKENDS: Final[Mapping[str, Backend]] = {
    "onnx": Backend(onnx_session.availability, onnx_session.OnnxSession),
    "ort": Backend(onnx_session.availability, onnx_session.OnnxSession),
    "pte": Backend(executorch_session.availability, executorch_session.ExecutorchSession),
    "ts": Backend(torchscript_session.availability, torchscript_session.TorchScriptSession),
}
"""By the ending of the artifact's name."""


def usual_artifact(bundle: Bundle) -> str:
    """What runs unless something else is asked for: int8, and float of weights alone.

    Weights alone, as teachers ship, have no int8 file, and none that was left out by mistake.
    """
    return DEFAULT_ARTIFACT if bundle.artifacts else FLOAT_ARTIFACT


def open_session(
    model: str | Path | Bundle,
    *,
    artifact: str = DEFAULT_ARTIFACT,
    threads: int | None = None,
    provider: str = CPU,
    arena: bool = True,
    trust: bool = False,
    store: Artifacts = find_artifact,
) -> Session:
    """Open a file of a bundle, or one made for it in the user's cache.

    Args:
        model: A bundle, its path or its zoo name.
        artifact: Which file: int8, float, int8.512x512.onnx, ts.
        threads: Threads to compute with; None leaves it to the backend.
        provider: Where ONNX Runtime computes: cpu, cuda and so on. ONNX files only.
        arena: False for a session that gives memory back after every run, at some cost in time.
            Only ONNX Runtime has the choice.
        trust: Whether a program of the bundle, TorchScript or ExecuTorch, may be loaded; those of
            the zoo and those that this machine made itself always are.
        store: Where the file comes from.

    Raises:
        OptionError: `threads` is not from 1 to `MAX_THREADS`, no backend runs such an artifact, or
            there is no such provider.
        ArtifactError: there is no such file; the message says how to make it.
        MissingExtraError: its backend or the provider is not installed.
        UnsafeFileError: it is a program and was not trusted.
        GraphLimitError: it is a graph that goes over a limit of memory or time, or crashes.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"threads is {threads}: expected from 1 to {MAX_THREADS}.")
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    name = artifact_name(artifact)
    if (backend := BACKENDS.get(name.rpartition(".")[2])) is None:
        raise OptionError(
            f"artifact is {artifact}: expected int8, float, dynamic, or a name that ends in "
            f"{' or '.join(BACKENDS)}; {bundle.path} holds {', '.join(bundle.artifacts) or 'none'}."
        )
    elsewhere = provider.lower() != CPU
    if elsewhere and backend.open is not onnx_session.OnnxSession:
        raise OptionError(f"provider is {provider}, but {artifact} is no ONNX file: leave it out.")
    chain = provider_chain(provider)
    path = store(bundle, name, trust=trust)
    if (missing := backend.availability()) is not None:
        raise MissingExtraError(missing)
    if not elsewhere:
        if not arena and name.endswith(".onnx"):
            return onnx_session.OnnxSession(path, name, threads, arena=False)
        return backend.open(path, name, threads)
    with warnings.catch_warnings():
        # ONNX Runtime warns of what is refused below
        warnings.filterwarnings("ignore", message=".*provider.*", category=UserWarning)
        session = onnx_session.OnnxSession(path, name, threads, providers=chain)
    if session.provider != chain[0]:
        raise MissingExtraError(
            f"{chain[0]} is installed but does not start here, a driver or library of it is "
            f"missing: ONNX Runtime fell back to {session.provider}."
        )
    return session
