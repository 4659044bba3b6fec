"""Small pictures, and the feature network loaded once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nstc.compress.export.checking import sample_picture
from nstc.compress.optimization.optimize_picture import OptimizedPicture, optimize
from nstc.core.images import Picture, write_picture
from nstc.core.recipe import OptimizeRecipe, override
from nstc.models.vgg import VggFeatures

TINY = OptimizeRecipe(size=48, steps=3)

Optimize = Callable[..., OptimizedPicture]


@pytest.fixture(autouse=True)
def loaded_once(vgg: VggFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped weights are not read anew for every run."""
    module = "nstc.compress.optimization.optimize_picture"
    whole = __import__(module, fromlist=["load_vgg"]).load_vgg
    monkeypatch.setattr(
        f"{module}.load_vgg", lambda source: vgg if source == "shipped" else whole(source)
    )


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photo.png and painting.png, and others that tests name."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(2)
    waves = np.sin(np.arange(56) / 3)[:, None] * np.cos(np.arange(64) / 5)
    painted = np.stack([waves, -waves, waves[::-1]], axis=2) * 90 + 128
    noise = rng.integers(-20, 20, painted.shape)
    made = {
        "photo": sample_picture(40, 48),
        "painting": (painted + noise).clip(0, 255).astype(np.uint8),
        "other": sample_picture(64, 64)[::-1],
        "red": np.full((40, 48, 3), (200, 40, 40), np.uint8),
    }
    for name, rgb in made.items():
        write_picture(folder / f"{name}.png", Picture(rgb=np.ascontiguousarray(rgb)))
    return folder


@pytest.fixture
def run(pictures: Path, tmp_path: Path) -> Optimize:
    """Optimises the small photograph; settings and arguments of `optimize` can be given."""

    def run(output: str = "out.png", **given: Any) -> OptimizedPicture:
        fields = OptimizeRecipe.__dataclass_fields__
        settings = {name: given.pop(name) for name in tuple(given) if name in fields}
        arguments = {
            "photo": pictures / "photo.png",
            "painting": pictures / "painting.png",
            "output": tmp_path / output,
            **given,
        }
        return optimize(recipe=override(TINY, **settings), **arguments)

    return run
