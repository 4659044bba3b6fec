"""Stylising by optimisation, on pictures of 48 px and for some steps."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import save_file

from nstc.compress.learning.optimisers import Optimiser
from nstc.compress.optimization import optimize_picture
from nstc.compress.optimization.picture_losses import PictureLosses
from nstc.core.errors import (
    CheckpointError,
    DivergedError,
    ImageError,
    Interrupted,
    OptionError,
    OutputError,
)
from nstc.core.images import read_picture
from nstc.core.images.label_maps import LabelMap, write_label_map


def folder_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.optimization")


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
        kept = {str(p.relative_to(folder_of(made.path))) for p in folder_of(made.path).rglob("*.*")}
        assert kept == {"previews/0048px-step-00002.jpg", "48px/losses.jsonl"}

    def test_orientation_in_metadata_is_applied(self, run, pictures, tmp_path) -> None:
        exif = PillowImage.Exif()
        exif[0x0112] = 6  # a quarter turn
        with PillowImage.open(pictures / "photo.png") as photo:
            photo.save(tmp_path / "turned.png", exif=exif)
        made = run(photo=tmp_path / "turned.png", steps=1)
        assert made.rgb.shape == (48, 40, 3)


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


class TestInterruption:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_resumed_it_ends_with_the_same_bytes(self, run, recorder, tmp_path, optimizer) -> None:
        settings = {"optimizer": optimizer, "size": 80, "scales": 2, "steps": 10}
        whole = run("whole.png", **settings)
        for stop in (("40 px", 3), ("80 px", 2)):
            output = f"stopped-{stop[1]}.png"
            with pytest.raises(Interrupted) as caught:
                run(output, progress=recorder(ctrl_c_at=stop), **settings)
            assert f"{stop[0]} stopped, step {stop[1]} of" in str(caught.value)
            assert "--resume" in str(caught.value)
            assert f"The best image until then is in {tmp_path / output}." in str(caught.value)
            assert read_picture(tmp_path / output).rgb.shape[1] == int(stop[0].split()[0])
            resumed = run(output, resume=True, **settings)
            assert (tmp_path / output).read_bytes() == whole.path.read_bytes()
            assert resumed.trace == whole.trace
            assert not folder_of(tmp_path / output).exists()

    @pytest.fixture
    def stopped(self, run, recorder, tmp_path) -> Path:
        with pytest.raises(Interrupted):
            run(progress=recorder(ctrl_c_at=("48 px", 1)))
        return tmp_path / "out.png"

    @pytest.mark.parametrize(
        "other", [{"seed": 1}, {"size": 64}, {"init": "noise"}, {"style_strength": 0.5}]
    )
    def test_other_settings_are_refused_and_the_checkpoint_is_kept(
        self, run, stopped, other
    ) -> None:
        checkpoint = folder_of(stopped) / "48px" / "checkpoint.safetensors"
        before = checkpoint.read_bytes()
        with pytest.raises(OptionError, match="other settings"):
            run(resume=True, **other)
        assert checkpoint.read_bytes() == before

    def test_a_wrong_option_does_not_delete_the_checkpoint(self, run, stopped) -> None:
        for wrong in ({"photo": Path("missing.png")}, {"style_layers": "relu9_9=1"}):
            with pytest.raises((ImageError, OptionError)):
                run(**wrong)
        assert (folder_of(stopped) / "48px" / "checkpoint.safetensors").is_file()

    def test_without_a_checkpoint_it_starts_and_says_so(self, run, recorder) -> None:
        told = recorder()
        made = run(resume=True, progress=told)
        assert made.steps == 3
        folder = folder_of(made.path)
        assert told.notes == [f"nothing to resume at {folder}: starting from the beginning"]

    def test_between_two_sizes(self, run, tmp_path, monkeypatch) -> None:
        def interrupted(*_arguments: object, **_more: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(optimize_picture.F, "interpolate", interrupted)
        with pytest.raises(Interrupted, match=r"stopped: .*out\.png is not written.* --resume"):
            run(size=80, scales=2, steps=2)
        assert not (tmp_path / "out.png").exists()


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


class TestStrength:
    def test_none_is_the_photograph_and_more_is_farther_from_it(self, run) -> None:
        found = [run(f"{s}.png", style_strength=s, steps=15) for s in (0.0, 0.5, 2.0)]
        assert found[0].content < 0.05
        assert found[0].content < found[1].content < found[2].content
        assert found[0].style > found[1].style > found[2].style

    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_none_leaves_the_photograph_as_it_is(self, run, pictures, optimizer) -> None:
        made = run(style_strength=0.0, steps=40, optimizer=optimizer)
        photo = read_picture(pictures / "photo.png").rgb
        assert abs(made.rgb.astype(int) - photo).mean() < 3

    def test_the_weight_of_the_content_loss_changes_none(self, run) -> None:
        whole, small = (
            run(f"{weight}.png", content_losses=f"content={weight}", steps=20)
            for weight in (1, 0.001)
        )
        assert small.style == pytest.approx(whole.style, rel=0.05)

    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_a_painting_that_is_the_photograph_is_not_diverged(
        self, run, pictures, optimizer
    ) -> None:
        made = run(painting=pictures / "photo.png", steps=60, optimizer=optimizer)
        assert made.style < 0.05

    def test_statistics_are_mixed(self, run) -> None:
        none = run(strength_by="statistics", style_strength=0.0, steps=3)
        assert none.trace[0]["style_loss"] == pytest.approx(0, abs=1e-3)
        assert none.content == pytest.approx(0, abs=0.05)
        most = run("most.png", strength_by="statistics", style_strength=2.0, steps=1)
        assert most.trace[0]["style_loss"] > 0.1

    def test_without_balance_the_weights_decide(self, run) -> None:
        weak = run(balance=False, style_weight=1.0, content_weight=100.0, steps=10)
        strong = run("strong.png", balance=False, style_weight=10.0, steps=10)
        assert "balance" not in weak.trace[0]
        assert weak.content < strong.content
        assert strong.style < weak.style

    def test_weights_of_content_change_no_level(self, run) -> None:
        plain = run(steps=6)
        weighted = run("weighted.png", steps=6, content_losses="content=3")
        assert weighted.content == pytest.approx(3 * plain.content, rel=0.25)


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


class TestLabelMaps:
    @pytest.fixture
    def halves(self, tmp_path):
        """Writes the map of a picture with one colour left and another right."""

        def write(name: str, height: int, width: int, colors=((0, 0, 0), (255, 0, 0))) -> Path:
            labels = np.zeros((height, width), np.uint8)
            labels[:, width // 2 :] = 1
            write_label_map(tmp_path / name, LabelMap(labels=labels, colors=colors))
            return tmp_path / name

        return write

    def test_regions_are_compared(self, run, halves) -> None:
        maps = {"photo_mask": halves("p.png", 40, 48), "style_mask": halves("s.png", 56, 64)}
        plain, masked = run(steps=2), run("masked.png", steps=2, **maps)
        assert masked.trace[0]["style_loss"] != plain.trace[0]["style_loss"]
        named = run("named.png", steps=2, style_losses="semantic=1", **maps)
        assert (named.rgb == masked.rgb).all()

    def test_what_is_refused(self, run, halves, pictures) -> None:
        photo, style = halves("p.png", 40, 48), halves("s.png", 56, 64)
        other = halves("other.png", 56, 64, ((0, 0, 0), (0, 0, 255)))
        wide = halves("wide.png", 20, 64)
        both = {"photo_mask": photo, "style_mask": style}
        two = {str(pictures / name): 1.0 for name in ("painting.png", "other.png")}
        for given, said in [
            ({"photo_mask": photo}, "one label map was given: expected both"),
            ({"style_mask": style}, "one label map was given: expected both"),
            ({**both, "style_mask": other}, "lacks #ff0000"),
            ({**both, "photo_mask": wide}, r"wide\.png is 64x20, the photograph is 48x40"),
            ({**both, "style_mask": wide}, r"wide\.png is 64x20, the painting is 64x56"),
            ({**both, "painting": two}, "2 paintings were given with label maps"),
            ({**both, "style_losses": "moments=1"}, "expected gram or semantic"),
            ({**both, "style_losses": "gram=1,semantic=1"}, "expected gram or semantic"),
            ({"style_losses": "semantic=1"}, "give --photo-mask and --style-mask"),
        ]:
            with pytest.raises(OptionError, match=said):
                run("none.png", **given)
        assert not list(photo.parent.glob("none*"))


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"photo": Path("missing.png")}, ImageError, "there is no such file"),
        ({"painting": Path("missing.png")}, ImageError, "there is no such file"),
        ({"painting": "red.png"}, OptionError, "has a single colour"),
        ({"output": Path("out.docx")}, OptionError, r"\.docx"),
        ({"style_layers": "relu9_1=1"}, OptionError, "no layer relu9_1"),
        ({"content_layers": "relu5_1=1"}, OptionError, "no layer relu5_1"),
        ({"style_losses": "grams=1"}, OptionError, "style-losses names grams: expected some of"),
        ({"content_losses": "gram=1,content=1"}, OptionError, "content-losses names gram"),
        ({"style_losses": "tv=1"}, OptionError, "style-losses names tv"),
        ({"style_size": 32, "painting": "narrow.png"}, OptionError, "less than 16 px"),
        ({"size": 64, "scales": 3}, OptionError, "expected 32 at least"),
        (
            {"style_losses": "patches=1", "style_size": 134, "painting": "narrow.png"},
            OptionError,
            "3x3 patch",
        ),
        ({"vgg": "nothing"}, OptionError, "no VGG weights at nothing"),
        ({"vgg": "photo.png"}, CheckpointError, "is not a safetensors file"),
        ({"preview_every": 0}, OptionError, "preview-every is 0: expected"),
        (
            {"strength_by": "statistics", "style_strength": 0.5, "style_losses": "patches=1"},
            OptionError,
            "patches does not have",
        ),
        ({"photo": "ftp://x/a.png"}, Exception, "only http and https"),
    ],
)
def test_wrong_input_is_refused_before_the_work_and_leaves_nothing(
    run, pictures, tmp_path, monkeypatch, given, kind, said
) -> None:
    folder = pictures
    with PillowImage.open(folder / "painting.png") as painting:
        painting.resize((200, 24)).save(folder / "narrow.png")
    for name in ("painting", "vgg"):
        if str(given.get(name, "")).endswith(".png") and isinstance(given[name], str):
            given = {**given, name: str(folder / given[name])}
    if "output" in given:
        given = {**given, "output": tmp_path / given["output"]}

    def never(*_arguments: object) -> None:
        raise AssertionError("it began")

    monkeypatch.setattr("nstc.compress.learning.loop.Optimisation.run", never)
    with pytest.raises(kind, match=said):
        run(**given)
    assert not list(tmp_path.iterdir())


def test_other_vgg_weights(run, vgg, tmp_path) -> None:
    path = tmp_path / "vgg.safetensors"
    save_file({name: weight.half() for name, weight in vgg.state_dict().items()}, path)
    own = run(balance=False, steps=2)
    other = run("other.png", balance=False, steps=2, vgg=str(path))  # normalised otherwise
    assert math.isfinite(other.style)
    assert other.style != own.style


def test_an_input_is_not_replaced(run, pictures) -> None:
    for name in ("photo", "painting"):
        before = (pictures / f"{name}.png").read_bytes()
        with pytest.raises(OptionError, match="which is an input too"):
            run(output=pictures / f"{name}.png")
        assert (pictures / f"{name}.png").read_bytes() == before


def test_a_file_where_checkpoints_would_go(run, tmp_path) -> None:
    folder_of(tmp_path / "out.png").write_text("mine")
    with pytest.raises(OutputError, match="it is a file"):
        run()
    assert folder_of(tmp_path / "out.png").read_text() == "mine"
