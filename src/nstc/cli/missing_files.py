"""Files of a bundle that is weights alone, made when they are first asked for."""

from nstc.cli.output import tell
from nstc.core.bundle import Bundle, artifact_file, artifact_name
from nstc.core.errors import MissingExtraError
from nstc.core.zoo import named, zoo_name_of


def make_missing(bundle: Bundle, artifact: str | None) -> None:
    """Make the file that is to run in the user's cache, of a bundle of weights alone or of the zoo.

    Other bundles are told by the session how to make it, for it belongs into them.
    """
    from nstc.runtime.artifact_cache import cached_artifact
    from nstc.runtime.session import usual_artifact

    name = artifact_name(artifact or usual_artifact(bundle))
    is_there = name in bundle.artifacts or cached_artifact(bundle, name).is_file()
    if is_there or (bundle.artifacts and zoo_name_of(bundle.path) is None):
        return
    try:
        from nstc.compress.exporting import can_make, ensure_artifact
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{named(bundle.path)} holds no {artifact_file(name)}, and making it needs "
            f'{error.name}: run  pip install "nstc[compress]"  and the same command again.'
        ) from error
    if can_make(bundle, name):
        tell(f"making {artifact_file(name)} of {named(bundle.path)}, once: it is kept in the cache")
        ensure_artifact(bundle, name)
