"""Training a full-size network: mostly from a tiny one, so that steps take no time."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from nstc.compress.card import CURVES_FILE
from nstc.compress.learning.logs import LOSSES_FILE
from nstc.compress.learning.loop import CHECKPOINT_FILE
from nstc.compress.learning.symptoms import SYMPTOMS
from nstc.compress.training.train_model import train
from nstc.core.bundle import CARD_FILE, PREVIEW_FILE, Bundle, open_bundle, revised_bundle
from nstc.core.errors import DivergedError, ImageError, Interrupted, OptionError, OutputError
from nstc.core.files import sha256_of
from nstc.core.images import Picture, read_picture, write_picture
from nstc.core.manifest import Style
from nstc.core.photos import PhotoSet
from nstc.core.recipe import TrainRecipe, override
from nstc.models.architectures import load
from nstc.models.style import STYLE_SIZES, statistics_of_painting, style_of
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures

TINY = TrainRecipe(steps=3, size=64, batch=1, style_size=256)

Train = Callable[..., Bundle]


@pytest.fixture(scope="module")
def start(
    make_styled_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A tiny full-size network to start from."""
    torch.manual_seed(3)
    network = TransformerNet((8, 8, 8), (), (8, 8))
    network.prepare_for_training()
    return make_styled_bundle(network, tmp_path_factory.mktemp("start") / "start")


@pytest.fixture(scope="module")
def train_tiny(start: Bundle, painting: Path, photos: PhotoSet) -> Train:
    """Trains the tiny network; settings of the recipe and arguments of `train` can be given."""

    def run(output: Path, **given: Any) -> Bundle:
        settings = {k: given.pop(k) for k in tuple(given) if k in TrainRecipe.__annotations__}
        arguments = {"painting": painting, "photos": photos, "init": start.path, **given}
        return train(output=output, recipe=override(TINY, **settings), **arguments)

    return run


@pytest.fixture(scope="module")
def trained(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An uninterrupted run. Not to be changed."""
    return train_tiny(tmp_path_factory.mktemp("trained") / "starry", credit="Nobody")


def losses(output: Path) -> list[dict[str, float]]:
    log = output.with_name(f"{output.name}.training") / LOSSES_FILE
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.slow
def test_from_random_weights_it_makes_the_network_of_the_paper(
    painting: Path, photos: PhotoSet, tmp_path: Path, recorder: type
) -> None:
    told = recorder()
    made = train(
        painting,
        photos,
        tmp_path / "net",
        recipe=TrainRecipe(steps=1, size=64, batch=1, style_size=256),
        name="stripes-net",
        progress=told,
    )
    assert told.begun == [("train", 1, 0)]
    assert made.manifest.architecture.arguments == TransformerNet().arguments()
    assert made.name == "stripes-net"
    assert made.manifest.parent is None
    assert len(made.manifest.history) == 1
    picture = load(made)(torch.rand(1, 3, 64, 64))
    assert picture.shape == (1, 3, 64, 64)
    assert picture.isfinite().all()


def test_the_bundle_says_where_it_came_from(
    trained: Bundle, start: Bundle, photos: PhotoSet
) -> None:
    manifest = trained.manifest
    assert manifest.name == "starry"
    assert manifest.stage == "trained"
    assert manifest.style == Style(name="stripes", source="painting", credit="Nobody")
    assert manifest.parent == start.origin()
    assert manifest.teacher is None
    (step,) = manifest.history
    assert step.verb == "train"
    assert step.photos == photos.record()
    assert step.seed == 0
    assert (step.recipe["steps"], step.recipe["init"]) == (3, start.identity)


@pytest.mark.parametrize(("painted", "judged"), [("stripes", True), ("waves", False)])
def test_what_was_pruned_from_a_teacher_is_judged_beside_it_in_its_own_style_alone(
    start: Bundle, train_tiny: Train, tmp_path: Path, painted: str, judged: bool
) -> None:
    pruned = dataclasses.replace(
        start.manifest, style=Style(name=painted, source="painting"), teacher=start.origin()
    )
    with revised_bundle(start, tmp_path / "pruned", pruned):
        pass
    made = train_tiny(tmp_path / "better", init=tmp_path / "pruned", steps=1)
    assert made.manifest.teacher == (start.origin() if judged else None)
    text = (made.path / CARD_FILE).read_text(encoding="utf-8")
    assert ("- teacher: " in text) is judged
    assert "the teacher's pictures" not in text  # the preview has its own alone


def test_the_bundle_brings_the_paintings_statistics(
    trained: Bundle, painting: Path, vgg: VggFeatures
) -> None:
    kept = style_of(trained)
    assert kept is not None
    assert tuple(sorted(kept.grams)) == STYLE_SIZES
    expected = statistics_of_painting(read_picture(painting).rgb, vgg, [256]).at(256)
    for name, gram in expected.items():
        torch.testing.assert_close(kept.at(256)[name], gram, rtol=2e-3, atol=1e-3 * gram.max())


def test_losses_and_a_preview_stay_and_the_checkpoint_goes(trained: Bundle) -> None:
    assert [line["step"] for line in losses(trained.path)] == [0, 1, 2]
    assert set(losses(trained.path)[0]) == {"step", "style", "content", "tv", "range"}
    folder = trained.path.with_name("starry.training")
    assert not (folder / CHECKPOINT_FILE).exists()
    assert [path.name for path in (folder / "previews").iterdir()] == ["step-00003.jpg"]
    sheet = read_picture(folder / "previews" / "step-00003.jpg").rgb
    assert sheet.shape[0] >= 2 * 256
    assert sheet.shape[1] >= 4 * 256


def test_the_same_seed_gives_the_same_network_and_another_does_not(
    trained: Bundle, train_tiny: Train, tmp_path: Path
) -> None:
    again = train_tiny(tmp_path / "again")
    assert again.identity == trained.identity
    other = train_tiny(tmp_path / "other", seed=1)
    assert other.identity != trained.identity
    assert losses(other.path)[0] != losses(trained.path)[0]  # other crops


def test_an_interrupted_run_that_is_resumed_ends_as_one_that_was_not(
    trained: Bundle, train_tiny: Train, tmp_path: Path, recorder: type
) -> None:
    output = tmp_path / "starry"
    with pytest.raises(Interrupted, match="--resume"):
        train_tiny(output, progress=recorder(ctrl_c_at=("train", 2)))
    assert not output.exists()
    told = recorder()
    resumed = train_tiny(output, resume=True, progress=told)
    assert told.begun == [("train", 3, 2)]
    assert resumed.identity == trained.identity
    assert losses(output) == losses(trained.path)


def repainted(folder: Path) -> Path:
    path = folder / "other.png"
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (16, 256, 3), generator=rng, dtype=torch.uint8)
    write_picture(path, Picture(rgb=noise.numpy()))
    return path


def test_a_checkpoint_of_other_settings_is_refused_and_kept(
    train_tiny: Train, photos: PhotoSet, tmp_path: Path, recorder: type
) -> None:
    output = tmp_path / "starry"
    with pytest.raises(Interrupted):
        train_tiny(output, progress=recorder(ctrl_c_at=("train", 1)))
    checkpoint = tmp_path / "starry.training" / CHECKPOINT_FILE
    before = sha256_of(checkpoint)
    others: list[dict[str, Any]] = [
        {"content_weight": 9.0},
        {"terms": "laplacian=1"},
        {"painting": repainted(tmp_path)},
        {"photos": PhotoSet(photos.paths[:1], photos.names)},
    ]
    for other in others:
        with pytest.raises(OptionError, match="other settings"):
            train_tiny(output, resume=True, **other)
    assert sha256_of(checkpoint) == before


def test_a_warm_start_starts_from_the_weights_and_goes_on_with_the_history(
    trained: Bundle, train_tiny: Train, tmp_path: Path
) -> None:
    made = train_tiny(tmp_path / "warm", init=trained.path, steps=1, learning_rate=1e-9)
    before, after = load(trained).state_dict(), load(made).state_dict()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=1e-3, atol=1e-6)
    assert made.manifest.parent == trained.origin()
    assert [step.verb for step in made.manifest.history] == ["train", "train"]


def test_a_warm_start_from_a_student_is_refused(
    train_tiny: Train, student_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=r"--init .*not a full-size network"):
        train_tiny(tmp_path / "net", init=student_bundle.path)
    assert not (tmp_path / "net").exists()


def test_the_style_is_learned(train_tiny: Train, photos: PhotoSet, tmp_path: Path) -> None:
    one_photo = PhotoSet(photos.paths[:1], photos.names)
    train_tiny(tmp_path / "net", photos=one_photo, steps=16, learning_rate=0.03, content_weight=0.0)
    style = [line["style"] for line in losses(tmp_path / "net")]
    assert sum(style[-4:]) < 0.8 * sum(style[:4])


def test_a_term_weighs_what_the_recipe_says(
    trained: Bundle, train_tiny: Train, tmp_path: Path
) -> None:
    train_tiny(tmp_path / "net", steps=1, style_weight=4.0, content_weight=0.0, tv_weight=1.5)
    before, after = losses(trained.path)[0], losses(tmp_path / "net")[0]
    assert after["style"] == pytest.approx(2 * before["style"], rel=1e-3)  # the default is 2
    assert after["tv"] == pytest.approx(3 * before["tv"], rel=1e-3)  # and 0.5
    assert before["content"] > 0
    assert after["content"] == 0


def test_named_losses_are_learned_with_their_weights(
    trained: Bundle, train_tiny: Train, tmp_path: Path
) -> None:
    names = ("perceptual", "moments", "histogram", "sliced-wasserstein", "laplacian")
    made = train_tiny(tmp_path / "net", steps=1, terms=",".join(f"{name}=1" for name in names))
    doubled = train_tiny(tmp_path / "other", steps=1, terms="laplacian=2, moments = 0.5")
    before, one, other = (losses(bundle.path)[0] for bundle in (trained, made, doubled))
    assert {name: one[name] for name in before} == pytest.approx(before)
    assert set(one) == {*before, *names}
    assert all(one[name] > 0 for name in names)
    assert other["laplacian"] == pytest.approx(2 * one["laplacian"], rel=1e-3)
    assert other["moments"] == pytest.approx(0.5 * one["moments"], rel=1e-3)
    assert made.identity != doubled.identity
    assert made.manifest.history[0].recipe["terms"].startswith("perceptual=1,moments=1")


def test_a_named_loss_of_the_painting_is_reduced(
    train_tiny: Train, photos: PhotoSet, tmp_path: Path
) -> None:
    train_tiny(
        tmp_path / "net",
        **{"photos": PhotoSet(photos.paths[:1], photos.names), "steps": 16, "terms": "moments=2"},
        **{"learning_rate": 0.1, "content_weight": 0.0, "style_weight": 0.0, "tv_weight": 0.0},
    )
    moments = [line["moments"] for line in losses(tmp_path / "net")]
    assert sum(moments[-4:]) < 0.8 * sum(moments[:4])


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ("tv=1", "tv, which has a weight of its own: give tv-weight"),
        ("gram=1", "gram, which has a weight of its own: give style-weight"),
        ("semantic=1", "semantic, which compares regions: it belongs to nstc optimize"),
        ("pixel=1", "pixel: expected some of perceptual, "),
    ],
)
def test_a_name_that_is_not_there_is_refused_before_any_work(
    photos: PhotoSet, tmp_path: Path, terms: str, said: str
) -> None:
    with pytest.raises(OptionError, match=f"terms names {said}"):
        train(tmp_path / "none.png", photos, tmp_path / "net", recipe=TrainRecipe(terms=terms))
    assert list(tmp_path.iterdir()) == []


def test_a_painting_too_narrow_for_patches_is_refused(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="features of 32x2 have no 3x3 patch"):
        train_tiny(tmp_path / "net", terms="patches=1")


ALL_AT_ONCE = {
    "balance": 20.0,
    "ema": 0.5,
    "color_of": "photos",
    "terms": "sliced-wasserstein=1,perceptual=1",
}


def test_balance_average_and_colours_are_resumed_alike(
    train_tiny: Train, trained: Bundle, tmp_path: Path, recorder: type
) -> None:
    whole = train_tiny(tmp_path / "whole", **ALL_AT_ONCE)
    with pytest.raises(Interrupted):
        train_tiny(tmp_path / "stopped", progress=recorder(ctrl_c_at=("train", 2)), **ALL_AT_ONCE)
    resumed = train_tiny(tmp_path / "stopped", resume=True, **ALL_AT_ONCE)
    assert resumed.identity == whole.identity != trained.identity
    assert losses(resumed.path) == losses(whole.path)
    assert resumed.manifest.history == whole.manifest.history


def test_the_balance_brings_the_gradients_to_the_ratio_and_is_logged(
    trained: Bundle, train_tiny: Train, tmp_path: Path
) -> None:
    train_tiny(tmp_path / "net", steps=1, balance=20.0)
    before, after = losses(trained.path)[0], losses(tmp_path / "net")[0]
    assert after["balance"] != pytest.approx(1, rel=0.1)
    ratio = (after["style"] / after["content"]) / (before["style"] / before["content"])
    assert ratio == pytest.approx(after["balance"], rel=1e-3)


def test_the_average_is_what_is_kept(start: Bundle, train_tiny: Train, tmp_path: Path) -> None:
    last = train_tiny(tmp_path / "last", learning_rate=0.05)
    mean = train_tiny(tmp_path / "mean", learning_rate=0.05, ema=0.99)
    name = "deconv3.conv2d.weight"
    at_first, at_last, averaged = (load(b).state_dict()[name] for b in (start, last, mean))
    way = (at_last - at_first).norm()
    assert 0.2 * way < (averaged - at_first).norm() < 0.95 * way
    assert losses(mean.path) == losses(last.path)  # what learns is another network


def test_photographs_colours_change_the_style_that_is_kept(
    train_tiny: Train, trained: Bundle, photos: PhotoSet, vgg: VggFeatures, tmp_path: Path
) -> None:
    kept = style_of(train_tiny(tmp_path / "net", steps=1, color_of="photos"))
    own = style_of(trained)
    assert kept is not None
    assert own is not None
    first = "relu1_2"
    assert not torch.allclose(kept.at(256)[first], own.at(256)[first], rtol=0.1)


def test_the_card_has_pictures_and_the_losses(trained: Bundle) -> None:
    text = trained.file(CARD_FILE).read_text(encoding="utf-8")
    assert f"![preview]({PREVIEW_FILE})" in text
    assert f"![loss curves]({CURVES_FILE})" in text
    last = losses(trained.path)[-1]
    (step,) = trained.manifest.history
    assert set(step.results) == {"style", "content", "tv", "range"}
    assert step.results["style"] == pytest.approx(last["style"], rel=1e-3)
    assert f"Results: style {step.results['style']}, " in text
    assert read_picture(trained.file(CURVES_FILE)).rgb.shape == (420, 900, 3)
    assert read_picture(trained.file(PREVIEW_FILE)).rgb.shape[1] >= 4 * 256


def test_a_run_that_diverges_says_so(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="learning rate"):
        train_tiny(tmp_path / "net", learning_rate=1e30)
    assert not (tmp_path / "net").exists()


def test_a_painting_that_is_no_picture_is_an_image_error(train_tiny: Train, tmp_path: Path) -> None:
    (tmp_path / "painting.jpg").write_text("a night")
    with pytest.raises(ImageError, match=r"painting\.jpg"):
        train_tiny(tmp_path / "net", painting=tmp_path / "painting.jpg")


def test_a_place_that_is_taken_is_refused_before_anything_is_done(
    train_tiny: Train, tmp_path: Path, recorder: type
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    told = recorder()
    with pytest.raises(OutputError, match="thesis"):
        train_tiny(tmp_path / "thesis", progress=told)
    assert told.begun == []
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_bundle_at_the_place_is_replaced(
    train_tiny: Train, start: Bundle, make_styled_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    make_styled_bundle(load(start), tmp_path / "net", name="old")
    made = train_tiny(tmp_path / "net", steps=1)
    assert open_bundle(tmp_path / "net").identity == made.identity
    assert made.name == "net"


def test_what_is_wrong_with_pictures_is_told(
    train_tiny: Train,
    tmp_path: Path,
    recorder: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = recorder()
    always = dataclasses.replace(SYMPTOMS["one colour"], from_=-255.0)
    monkeypatch.setitem(cast("dict[str, Any]", SYMPTOMS), "one colour", always)
    train_tiny(tmp_path / "starry", progress=progress)
    (note,) = [note for note in progress.notes if "one colour" in note]
    assert note.startswith("step 1 of 3: the pictures are black")
    assert "--learning-rate" in note
