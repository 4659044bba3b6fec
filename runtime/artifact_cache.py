"""The files of models: those of a bundle, and those made on this machine, in the user's cache.

Teachers ship as weights alone; their ONNX files are large and can be made again.
"""

from pathlib import Path
from typing import Protocol

from nstc.core.bundle import Bundle, artifact_file, artifact_name
from nstc.core.errors import ArtifactError, CorruptBundleError
from nstc.core.files.cache import cached
from nstc.core.zoo import zoo_name_of
from nstc.runtime.foreign.trial import PROGRAMS, ensure_tried, is_ours, refuse_program
from nstc.runtime.model_files import data_files

_GRAPHS = ("onnx", "ort")
"""Endings of artifacts that are tried before they are opened."""


class Artifacts(Protocol):
    """A store: gives the file of a model in a form.

    `find_artifact` finds those that there are; `made_artifact` of
    `nstc.compress.export.export_model`, of those who may export, makes what is missing.
    """

    def __call__(self, bundle: Bundle, name: str, *, trust: bool = False) -> Path:
        """As `find_artifact`."""


def cached_artifact(bundle: Bundle, name: str) -> Path:
    """Where an artifact of a bundle, by its full or short name, is cached. It may not exist yet.

    Two bundles that compute the same share their cache.
    """
    return cached("artifacts", Path(bundle.identity) / artifact_file(name))


def find_artifact(bundle: Bundle, name: str, *, trust: bool = False) -> Path:
    """The path of an artifact that may be opened: in the bundle, or else in the cache.

    Args:
        bundle: The bundle.
        name: An artifact name or a short form such as float.
        trust: See `refuse_unsafe`; what is in the cache was made here.

    Raises:
        ArtifactError: it is in neither; the message says how to make it.
        CorruptBundleError: the bundle's file is missing or was changed.
    """
    try:
        path = bundle.artifact(name)
    except ArtifactError:
        made = cached_artifact(bundle, name)
        if made.is_file():
            return made
        raise
    refuse_unsafe(bundle, artifact_name(name), trust=trust)
    return path


def refuse_unsafe(bundle: Bundle, artifact: str, *, trust: bool) -> None:
    """Refuse a file of a bundle that may not be opened. All that run files of bundles ask here.

    A bundle is foreign data. What the zoo ships and what this run made itself is free; of others a
    program needs somebody who vouches for it, by `trust`, and a graph is tried first.

    Raises:
        UnsafeFileError: it is a program and was not trusted.
        GraphLimitError: it goes over a limit of memory or time, or crashes.
        CorruptBundleError: it keeps weights in other files, which no seal covers.
    """
    name = artifact_file(artifact)
    path, sha256 = bundle.path / name, bundle.manifest.files[name].sha256
    ending = artifact.rpartition(".")[2]
    if zoo_name_of(bundle.path) is not None or is_ours(sha256):
        return
    if ending in PROGRAMS and not trust:
        refuse_program(path, PROGRAMS[ending])
    if ending in _GRAPHS:
        if data_files(path):
            raise CorruptBundleError(
                f"{path} keeps weights in other files: a bundle's graphs hold all of theirs. "
                "Make it again."
            )
        ensure_tried(path, sha256=sha256)
