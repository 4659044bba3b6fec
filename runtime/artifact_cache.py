"""Files of a bundle that it does not ship, made on this machine and kept in the user's cache.

Teachers ship as weights alone; their ONNX files are large and can be made again.
"""

from pathlib import Path

from nstc.core.bundle import Bundle, artifact_file
from nstc.core.cache import cache_folder
from nstc.core.errors import ArtifactError


def cached_artifact(bundle: Bundle, name: str) -> Path:
    """Where an artifact of a bundle is cached. It may not exist yet.

    Args:
        bundle: The bundle; two that compute the same share their cache.
        name: An artifact name or a short form such as float.
    """
    return cache_folder("artifacts") / bundle.identity / artifact_file(name)


def find_artifact(bundle: Bundle, name: str) -> Path:
    """The path of an artifact: in the bundle, or else in the cache.

    Raises:
        ArtifactError: it is in neither; the message says how to make it.
        CorruptBundleError: the bundle's file is missing or was changed.
    """
    try:
        return bundle.artifact(name)
    except ArtifactError:
        cached = cached_artifact(bundle, name)
        if cached.is_file():
            return cached
        raise
