"""A predictor of styles, which is of certain files, where a bundle gets others in their place."""

from pathlib import Path

from nstc.core import Progress
from nstc.core.bundle import CARD_FILE, Bundle, artifact_file
from nstc.core.files import sha256_of
from nstc.runtime.packs.any_painting import GRAPHS, LAYERS_FILE, PREDICTOR_FILE, is_for_any


def drop_stale_predictor(bundle: Bundle, draft: Path, progress: Progress) -> None:
    """Leave out of a draft the predictor of a bundle whose graphs are others in the draft."""
    if not is_for_any(bundle):
        return
    known = ((draft / file, bundle.manifest.files.get(file)) for file in map(artifact_file, GRAPHS))
    if all(own is None or (p.is_file() and sha256_of(p) == own.sha256) for p, own in known):
        return
    for name in (PREDICTOR_FILE, LAYERS_FILE, CARD_FILE):  # the card says that there is one
        (draft / name).unlink(missing_ok=True)
    progress.note(
        f"{PREDICTOR_FILE} is left out, since it is of the graphs that were there before: what is "
        "written runs in one style. `nstc pack train-any` makes bundles for any painting."
    )
