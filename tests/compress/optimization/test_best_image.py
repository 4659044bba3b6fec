"""The best image is kept while an optimisation runs, and written whatever comes after it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nstc.compress.learning.optimisers import Optimiser
from nstc.compress.optimization.picture_losses import PictureLosses
from nstc.core.errors import DivergedError
from nstc.core.images import read_picture


class TestBestImage:
    """Losses are replaced by ones whose course is known."""

    @pytest.fixture
    def course(self, monkeypatch):
        """Sets the totals that steps have; the pixels count the steps."""

        def follow(values: list[float]) -> None:
            def losses_of(self: PictureLosses, picture: torch.Tensor) -> Any:
                number = min(follow.asked, len(values) - 1)  # type: ignore[attr-defined]
                follow.asked += 1  # type: ignore[attr-defined]
                return {"style": values[number] + 0 * picture.sum()}

            follow.asked = 0  # type: ignore[attr-defined]
            monkeypatch.setattr(PictureLosses, "_losses_of", losses_of)

        def step(self: Any, loss: float = 0.0) -> None:
            with torch.no_grad():
                self.parameters[0] += 0.01

        monkeypatch.setattr("nstc.compress.learning.optimisers.Optimiser.step", step)
        return follow

    def after(self, steps: int, pictures: Path) -> np.ndarray:
        photo = torch.tensor(read_picture(pictures / "photo.png").rgb) / 255
        for _ in range(steps):
            photo = (photo + 0.01).clamp(0, 1)
        return (photo * 255).round().byte().numpy()

    @pytest.mark.parametrize(
        ("values", "best"),
        [([4, 3, 2, 1], 3), ([4, 1, 2, 3], 1), ([4, 3, 1, 2], 2), ([4, 3.99], 1)],
    )
    def test_the_best_image_is_written_whichever_step_it_came_of(
        self, run, course, pictures, values, best
    ) -> None:
        course(values)
        made = run(content_weight=0.0, steps=3)
        difference = made.rgb.astype(int) - self.after(best, pictures)
        assert abs(difference).max() <= 1  # rounding

    def test_a_run_that_keeps_spoiling_its_image_ends(
        self, run, course, pictures, tmp_path
    ) -> None:
        course([4, 2, *[4.1] * 50])
        with pytest.raises(DivergedError, match=r"2 times its lowest, 2, for the 11th time"):
            run(content_weight=0.0, steps=40)
        kept = read_picture(tmp_path / "out.png").rgb.astype(int)
        assert abs(kept - self.after(1, pictures)).max() <= 1
        assert [path.name for path in tmp_path.iterdir()] == ["out.png"]

    def test_after_a_spoiled_image_the_best_one_is_changed_on_and_the_optimiser_forgets(
        self, run, course, pictures, monkeypatch
    ) -> None:
        forgotten = []

        def forget(self: Optimiser) -> None:
            forgotten.append(self)

        monkeypatch.setattr(Optimiser, "forget", forget)
        course([4, 2, 5.0, 2, 1])  # the fourth is of the best image once more
        made = run(content_weight=0.0, steps=4)
        assert len(forgotten) == 1
        difference = made.rgb.astype(int) - self.after(2, pictures)
        assert abs(difference).max() <= 1

    def test_a_loss_that_is_no_number_ends_the_run(self, run, course, pictures, tmp_path) -> None:
        course([4, 2, math.nan])
        with pytest.raises(DivergedError, match=r"nan at step 2.* best image .* in .*out\.png"):
            run(content_weight=0.0, steps=5)
        kept = read_picture(tmp_path / "out.png").rgb.astype(int)
        assert abs(kept - self.after(1, pictures)).max() <= 1


def test_a_learning_rate_far_too_high_ends_the_run_and_the_best_image_is_kept(
    run, tmp_path
) -> None:
    with pytest.raises(DivergedError, match="Lower the learning rate") as caught:
        run(learning_rate=1000.0, steps=40)
    assert f"The best image until then is in {tmp_path / 'out.png'}." in str(caught.value)
    assert read_picture(tmp_path / "out.png").rgb.std() > 5
