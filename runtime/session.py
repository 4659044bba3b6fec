"""The files of a bundle: where they are, whether they may be opened, and an opened one to run.

Teachers are released as weights alone: their ONNX files are large and are made in the user's cache.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from nstc.core import files, images, zoo
from nstc.core.bundle import Bundle, artifact_file, artifact_name, open_bundle
from nstc.core.errors import ArtifactError, CorruptBundleError, MissingExtraError, OptionError
from nstc.runtime import model_files, programs
from nstc.runtime.foreign.trial import PROGRAMS, ensure_tried, is_ours, refuse_program
from nstc.runtime.litert import ENDING, LitertSession, missing_litert
from nstc.runtime.onnx_session import CPU, OnnxSession, provider_chain

DEFAULT_ARTIFACT: Final = "int8"
MAX_THREADS: Final = 256  # some ten thousand threads would take all the memory there is


class Artifacts(Protocol):
    """A store of files: `find_artifact`, or one that exports what is missing."""

    def __call__(self, bundle: Bundle, name: str, *, trust: bool = False) -> Path:
        """As `find_artifact`."""


def cached_artifact(bundle: Bundle, name: str) -> Path:
    """Where an artifact of a bundle, by its full or short name, is cached. It may not exist yet.

    Two bundles that compute the same share their cache.
    """
    return files.cached("artifacts", Path(bundle.identity) / artifact_file(name))


def find_artifact(bundle: Bundle, name: str, *, trust: bool = False) -> Path:
    """The path of an artifact, such as float, that may be opened: in the bundle or in the cache.

    Raises:
        ArtifactError: it is in neither; the message says how to make it.
        MissingExtraError: nor is it installed, as a part of nstc-models.
        CorruptBundleError: the bundle's file is missing or was changed.
        UnsafeFileError, GraphLimitError: as `refuse_unsafe`, of the bundle's file.
    """
    try:
        path = bundle.artifact(name)
    except (ArtifactError, MissingExtraError):
        made = cached_artifact(bundle, name)
        if made.is_file():
            return made
        raise
    refuse_unsafe(bundle, artifact_name(name), trust=trust)
    return path


def refuse_unsafe(bundle: Bundle, artifact: str, *, trust: bool) -> None:
    """Refuse a file of a bundle that may not be opened: whoever runs such files calls this first.

    A bundle is foreign data. What the zoo includes and what this run made itself is free; of others
    a program needs somebody who vouches for it, by `trust`, and a graph is tried first.

    Raises:
        UnsafeFileError: it is a program and was not trusted.
        GraphLimitError: it goes over a limit of memory or time, or crashes.
        CorruptBundleError: it keeps weights in other files, which no seal covers.
    """
    name = artifact_file(artifact)
    path, sha256 = bundle.path / name, bundle.manifest.files[name].sha256
    ending = artifact.rpartition(".")[2]
    if zoo.zoo_name_of(bundle.path) is not None or is_ours(sha256):
        return
    if ending in PROGRAMS and not trust:
        refuse_program(path, PROGRAMS[ending])
    if ending in {"onnx", "ort"}:
        refuse_unsafe_graph(bundle, name)


def refuse_unsafe_graph(bundle: Bundle, name: str) -> None:
    """Refuse a graph of a bundle, by its file's name, that may not be opened.

    `GraphLimitError` and `CorruptBundleError` as `refuse_unsafe`.
    """
    path, sha256 = bundle.path / name, bundle.manifest.files[name].sha256
    if zoo.zoo_name_of(bundle.path) is not None or is_ours(sha256):
        return
    if model_files.data_files(path):
        raise CorruptBundleError(
            f"{path} keeps weights in other files: a bundle's graphs hold all of theirs. "
            "Make it again."
        )
    ensure_tried(path, sha256=sha256)


class Session(Protocol):
    """An opened graph. `run` is `prepare`, `infer`, `finish`, which benchmarks time apart."""

    @property
    def artifact(self) -> str:
        """The artifact's full name, such as int8.onnx."""

    @property
    def path(self) -> Path:
        """The file."""

    def prepare(self, rgb: images.Pixels) -> Any:
        """(H, W, 3) uint8 as what the graph takes; `ImageError` or `OptionError` if unfit."""

    def infer(self, feed: Any) -> Any:
        """Run the graph, and nothing else; `ImageError` if it fails, as for want of memory."""

    def finish(self, raw: Any) -> images.Pixels:
        """What the graph gave as (H, W, 3) uint8; `UnusableModelError` if it is not finite."""

    def run(self, rgb: images.Pixels) -> images.Pixels:
        """Stylise (H, W, 3) uint8 to the same size; raises what the three raise."""


@dataclass(frozen=True)
class Backend:
    """A way to run files of one ending."""

    availability: Callable[[], str | None]  # None, or what is missing and how to install it
    open: Callable[[Path, str, int | None], Session]  # of a file, its artifact name, threads


_ONNX: Final = Backend(lambda: None, OnnxSession)
# By the ending of the artifact's name.
BACKENDS: Final[Mapping[str, Backend]] = {
    "onnx": _ONNX,
    "ort": _ONNX,
    "pte": Backend(programs.missing_executorch, programs.ExecutorchSession),
    ENDING: Backend(missing_litert, LitertSession),
    "ts": Backend(programs.missing_torch, programs.TorchScriptSession),
}


def usual_artifact(bundle: Bundle) -> str:
    """What runs unless something else is asked for: int8, or float of a bundle of weights alone."""
    return DEFAULT_ARTIFACT if bundle.artifacts else "float"


def open_session(
    model: str | Path | Bundle,
    *,
    artifact: str = DEFAULT_ARTIFACT,
    threads: int | None = None,
    provider: str = CPU,
    arena: bool = True,
    trust: bool = False,
    store: Artifacts = find_artifact,
    shown: str | None = None,
) -> Session:
    """Open a file of a bundle, or one made for it in the user's cache.

    Args:
        model: A bundle, its path or its zoo name.
        artifact: Which file: int8, float, int8.512x512.onnx, ts.
        threads: Threads to compute with; None leaves it to the backend.
        provider: Where ONNX Runtime computes: cpu, cuda and so on. ONNX files only.
        arena: False for an ONNX session that gives memory back after every run, more slowly.
        trust: Whether a program of the bundle, of `PROGRAMS`, may be loaded; those of the zoo and
            those that this same run made itself always are.
        store: Where the file comes from.
        shown: What messages of an ONNX session call the bundle, where it is a copy that goes once
            the session is open.

    Raises:
        OptionError: `threads` is not from 1 to `MAX_THREADS`, no backend runs such an artifact, or
            there is no such provider.
        ArtifactError: there is no such file; the message says how to make it.
        MissingExtraError: its backend or the provider is not installed.
        UnsafeFileError, GraphLimitError: as `refuse_unsafe`.
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
    if provider.lower() != CPU and backend is not _ONNX:
        raise OptionError(f"provider is {provider}, but {artifact} is not ONNX: leave it out.")
    chain = provider_chain(provider)
    path = store(bundle, name, trust=trust)
    if (missing := backend.availability()) is not None:
        raise MissingExtraError(missing)
    if backend is not _ONNX:
        return backend.open(path, name, threads)
    called = None if shown is None else f"{shown}/{path.name}"
    session = OnnxSession(path, name, threads, providers=chain, arena=arena, shown=called)
    if session.provider != chain[0]:
        raise MissingExtraError(
            f"{chain[0]} is installed but does not start here, a driver or library of it is "
            f"missing: ONNX Runtime fell back to {session.provider}."
        )
    return session
