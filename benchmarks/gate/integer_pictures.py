"""What integer files give for the check pictures: the same bytes on every machine."""

from nstc.benchmarks.subjects import Subject
from nstc.runtime.agreement import CheckPictures, is_integer
from nstc.runtime.check_vectors import digest_of


def integer_pictures(model: Subject) -> dict[str, dict[str, str]]:
    """`hashes` of each integer file that a model holds, by its artifact's name.

    Raises what `Subject.open` and `Session.run` do.
    """
    bundle = model.bundle
    if bundle is None:
        return {}
    names = [name for name in bundle.artifacts if is_integer(bundle, name)]
    pictures = CheckPictures(bundle, {name: model.open(name, threads=1) for name in names})
    return {name: hashes(pictures, name) for name in names}


def hashes(pictures: CheckPictures, artifact: str) -> dict[str, str]:
    """SHA-256 of what a file gives for the check pictures, by their sizes, such as 45x59."""
    return {
        f"{height}x{width}": digest_of(pictures.of(artifact, (height, width)))
        for height, width in pictures.sizes(artifact)
    }
