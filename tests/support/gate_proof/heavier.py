"""The same network in a larger file."""

import base64
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from nstc.core.bundle import artifact_file, open_bundle, revised_bundle

ARTIFACT: Final = "int8.onnx"


def make_heavier(bundle: Path, place: Path, *, share: float, seed: int) -> Path:
    """A copy of a bundle whose int8 graph carries so much more, of words that nobody reads."""
    original = open_bundle(bundle)
    name = artifact_file(ARTIFACT)
    with revised_bundle(original, place, original.manifest) as draft:
        size = (draft / name).stat().st_size
        model = onnx.load(draft / name)
        ballast = np.random.default_rng(seed).bytes(int(share * size * 3 / 4) + 3)
        model.metadata_props.add(key="ballast", value=base64.b64encode(ballast).decode("ascii"))
        (draft / name).unlink()  # it may be a link to the original
        onnx.save(model, draft / name)
    return place
