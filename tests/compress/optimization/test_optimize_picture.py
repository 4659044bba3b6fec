"""Stylising by optimisation, on pictures of 48 px and for some steps."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file

from nstc.compress.optimization.picture_losses import PictureLosses
from nstc.core.errors import (
    OptionError,
)
from nstc.core.images import read_picture


class TestResult:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_the_style_gets_nearer_and_the_picture_is_written(self, run, optimizer) -> None:
        made = run(steps=12, optimizer=optimizer)
        first = made.trace[0]
        assert made.style < 0.8 * first["style_loss"]
        assert first["content_loss"] == pytest.approx(0, abs=1e-3)  # it is the photograph
        assert 0 < made.content < 2
        assert made.steps == len(made.trace) == 12
        assert [line["step"] for line in made.trace] == list(range(12))
        assert {line["size"] for line in made.trace} == {48}
        assert (read_picture(made.path).rgb == made.rgb).all()
        assert made.rgb.shape == (40, 48, 3)

    def test_nothing_but_the_picture_is_left(self, run, tmp_path) -> None:
        run()
        assert [path.name for path in tmp_path.iterdir()] == ["out.png"]

    def test_it_is_the_same_again(self, run) -> None:
        one, two = run(), run("again.png")
        assert (one.rgb == two.rgb).all()
        assert one.trace == two.trace

    def test_the_losses_are_those_of_the_picture_as_it_was_written(
        self, run, pictures, monkeypatch
    ) -> None:
        seen = []
        real = PictureLosses.unweighted

        def recorded(self: PictureLosses, picture: torch.Tensor) -> Any:
            seen.append(picture)
            return real(self, picture)

        monkeypatch.setattr(PictureLosses, "unweighted", recorded)
        made = run()
        (picture,) = seen
        levels = (picture * 255).round().byte()[0].permute(1, 2, 0).numpy()
        assert (levels == read_picture(made.path).rgb).all()

    def test_what_json_has(self, run, tmp_path) -> None:
        content = run(steps=1).to_dict()
        assert set(content) == {
            *("path", "style", "content", "steps", "seconds", "trace", "width", "height")
        }
        assert (content["path"], content["width"], content["height"]) == (
            str(tmp_path / "out.png"),
            48,
            40,
        )

    def test_scales_go_from_coarse_to_fine(self, run) -> None:
        made = run(size=80, scales=2, steps=5)
        assert [line["size"] for line in made.trace] == [40, 40, 40, 80, 80]
        assert made.rgb.shape == (67, 80, 3)

    def test_previews_and_losses_stay_where_they_were_asked_for(self, run) -> None:
        made = run(preview_every=2)
        folder = made.path.with_name("out.png.optimization")
        kept = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
        assert kept == {"previews/0048px-step-00002.jpg", "48px/losses.jsonl"}

    def test_orientation_in_metadata_is_applied(self, run, pictures, tmp_path) -> None:
        exif = PillowImage.Exif()
        exif[0x0112] = 6  # a quarter turn
        with PillowImage.open(pictures / "photo.png") as photo:
            photo.save(tmp_path / "turned.png", exif=exif)
        made = run(photo=tmp_path / "turned.png", steps=1)
        assert made.rgb.shape == (48, 40, 3)


class TestStarts:
    def test_each_start_is_another_image(self, run, pictures) -> None:
        starts = ["photo", "noise", "painting", pictures / "other.png"]
        made = [run(f"{n}.png", init=init, steps=1) for n, init in enumerate(starts)]
        first = [picture.trace[0]["content_loss"] for picture in made]
        assert first[0] == pytest.approx(0, abs=1e-3)
        assert len({round(value, 3) for value in first}) == 4

    def test_a_network_s_picture(self, run, bundle, pictures) -> None:
        made = run(init=bundle.path, steps=1, learning_rate=1e-9)
        photo = read_picture(pictures / "photo.png").rgb
        assert abs(made.rgb.astype(int) - (255 - photo)).max() <= 1

    @pytest.mark.parametrize("init", ["nothing", "missing.png", "a" * 300])
    def test_what_is_none(self, run, tmp_path, init) -> None:
        with pytest.raises(OptionError, match="expected photo, noise, painting, a picture"):
            run(init=init)
        assert not list(tmp_path.iterdir())


class TestColours:
    @pytest.mark.parametrize("how", ["luminance", "histogram"])
    def test_the_photographs_colours_are_kept(self, run, how) -> None:
        free, kept = run(steps=8), run("kept.png", steps=8, preserve_color=how)
        assert np.isfinite([kept.style, kept.content]).all()
        assert (free.rgb != kept.rgb).any()

    def test_luminance_changes_brightness_alone(self, run, pictures) -> None:
        made = run(steps=8, preserve_color="luminance")
        photo = read_picture(pictures / "photo.png").rgb.astype(float)
        change = made.rgb - photo
        unclipped = ((made.rgb > 2) & (made.rgb < 253)).all(axis=2)
        assert unclipped.mean() > 0.2
        spread = (change.max(axis=2) - change.min(axis=2))[unclipped]
        assert spread.max() <= 2
        assert abs(change).max() > 5

    def test_a_photograph_of_one_colour_works(self, run, pictures) -> None:
        made = run(photo=pictures / "red.png", steps=2)
        assert np.isfinite([made.style, made.content]).all()

    @pytest.mark.parametrize("how", ["luminance", "histogram"])
    def test_its_colour_is_not_given_to_a_painting(self, run, pictures, how) -> None:
        with pytest.raises(OptionError, match=f"single colour, which preserve-color {how} would"):
            run(photo=pictures / "red.png", preserve_color=how)


class TestSeveralPaintings:
    def test_each_counts_by_its_weight(self, run, pictures) -> None:
        one, two = str(pictures / "painting.png"), str(pictures / "other.png")
        alone = [run(f"{n}.png", painting=p, steps=1) for n, p in enumerate((one, two))]
        first, second = (made.trace[0]["style_loss"] for made in alone)
        both = run("both.png", painting={one: 3.0, two: 1.0}, steps=1)
        expected = 0.75 * first + 0.25 * second
        assert both.trace[0]["style_loss"] == pytest.approx(expected, rel=0.02)

    @pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, 1e300])
    def test_weights_out_of_range(self, run, tmp_path, weight) -> None:
        with pytest.raises(OptionError, match=r"the weight of b\.png is .*: expected a number"):
            run(painting={"a.png": 1.0, "b.png": weight})
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("count", [0, 17])
    def test_how_many(self, run, count) -> None:
        with pytest.raises(OptionError, match=f"{count} paintings were given: expected 1 to 16"):
            run(painting={f"{n}.png": 1.0 for n in range(count)})


def test_other_vgg_weights(run, vgg, tmp_path) -> None:
    path = tmp_path / "vgg.safetensors"
    save_file({name: weight.half() for name, weight in vgg.state_dict().items()}, path)
    own = run(balance=False, steps=2)
    other = run("other.png", balance=False, steps=2, vgg=str(path))  # normalised otherwise
    assert math.isfinite(other.style)
    assert other.style != own.style
