"""The whole path on a teacher so small that it takes seconds."""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from nstc.benchmarks.gate.limits import parse_budget
from nstc.benchmarks.timing import statistics
from nstc.compress import card, pipeline
from nstc.compress.pipeline import PRESETS, Compression, compress_model, preset, split_photos
from nstc.core import photos as photos_module
from nstc.core.bundle import Bundle, is_bundle, open_bundle
from nstc.core.errors import BudgetError, Interrupted, OptionError, OutputError
from nstc.core.files import sha256_of
from nstc.core.images import read_picture
from nstc.core.manifest import Manifest
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import (
    BenchRecipe,
    DistillRecipe,
    PruneRecipe,
    QuantizeRecipe,
    Recipe,
)
from nstc.models.transformer import TransformerNet

TINY = Recipe(
    distill=DistillRecipe(
        width=16,
        blocks=1,
        pixel_steps=2,
        steps=2,
        size=64,
        perceptual_size=64,
        batch=1,
        perceptual_batch=1,
        balance=False,
    ),
    prune=PruneRecipe(ratio=0.5, steps=1),
    quantize=QuantizeRecipe(calibration_photos=1, calibration_size=64),
    bench=BenchRecipe(size=64, rounds=3, targets=("cpu:1",), quality_photos=1),
)
SHEET_SIZE = 64


def make_cheap(patch: pytest.MonkeyPatch) -> None:
    """What costs time and has tests of its own: pictures of full size, many bootstrap draws."""
    patch.setattr(card, "SHEET_SIZE", SHEET_SIZE)
    patch.setattr(statistics, "RESAMPLES", 100)


@dataclass(frozen=True)
class Finished:
    """A run that came to its end. Not to be changed: tests go on with copies of its folder."""

    teacher: Path
    photos: Path
    output: Path
    made: Compression
    notes: str
    opened: Counter[str]
    hashed: Counter[Path]

    def copy(self, path: Path) -> Path:
        return Path(shutil.copytree(self.output, path))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the whole module, so that equal networks are exported once."""
    return tmp_path_factory.mktemp("pipeline-cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSTC_CACHE", str(cache))
    make_cheap(monkeypatch)


@pytest.fixture(scope="module")
def finished(
    make_styled_bundle: Callable[..., Bundle],
    photos: PhotoSet,
    recorder: type,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    torch.manual_seed(1)
    network = TransformerNet((8, 8, 8), (), (8, 8))
    network.prepare_for_training()
    bundle = make_styled_bundle(network, folder / "teacher")
    learned = photos.paths[0].parent
    told = recorder()
    opened, hashed = Counter[str](), Counter[Path]()
    read_manifest = Manifest.from_json

    def counted_manifest(text: str, name: str) -> Manifest:
        opened[name] += 1
        return read_manifest(text, name)

    def counted_hash(path: Path) -> str:
        hashed[path] += 1
        return sha256_of(path)

    sample_photos().hashes.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(cache))
        make_cheap(patch)
        patch.setattr(Manifest, "from_json", counted_manifest)
        patch.setattr(photos_module, "sha256_of", counted_hash)
        made = compress_model(
            bundle.path, folder / "out", recipe=TINY, photos=[learned], progress=told
        )
    notes = "\n\n".join(told.notes)
    return Finished(bundle.path, learned, folder / "out", made, notes, opened, hashed)


def taken_over(told: Any) -> list[str]:
    return [note.partition(":")[0] for note in told.notes if "taken over" in note]


def test_all_stages_are_made_measured_and_shown(finished: Finished) -> None:
    made = finished.made
    assert set(made.bundle.artifacts) == {"onnx", "int8.onnx", "ts"}
    assert [(Path(row.model).name, row.artifact) for row in made.result.rows] == [
        ("distilled", "onnx"),
        ("student", "int8.onnx"),
        ("student", "onnx"),
    ]
    assert made.result.rows[0].macs > made.result.rows[1].macs
    assert json.loads((finished.output / "bench.json").read_text())["schema"] == "nstc.bench/2"
    assert read_picture(made.comparison).rgb.shape[1] >= 4 * SHEET_SIZE
    card = (made.bundle.path / "README.md").read_text()
    assert "### distill" in card
    assert "model.int8.onnx" in card
    assert "learning from 2 photographs: 0, 1" in finished.notes
    assert "distilled: " in finished.notes
    assert "style_ratio" in finished.notes
    assert " dB to the float network\n\n" in finished.notes  # a note for each line


def test_the_teacher_is_opened_and_each_photograph_hashed_once(finished: Finished) -> None:
    assert finished.opened[str(finished.teacher / "manifest.json")] == 1
    assert set(finished.hashed.values()) == {1}
    assert {path.parent for path in finished.hashed} >= {finished.photos}


def test_a_second_run_takes_over_what_is_there(
    finished: Finished, tmp_path: Path, recorder: type
) -> None:
    output = finished.copy(tmp_path / "out")
    told = recorder()
    again = compress_model(
        finished.teacher, output, recipe=TINY, photos=[finished.photos], progress=told
    )
    assert taken_over(told) == ["distilled", "pruned", "student"]
    assert again.bundle.identity == finished.made.bundle.identity


class AskedError(Exception):
    """The pipeline came to the quantization, with this network."""


@pytest.fixture
def stop_before_quantization(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantizing exports the network twice, and does not change its weights."""

    def quantize(model: Path, *_arguments: Any, **_options: Any) -> None:
        raise AskedError(open_bundle(model).identity)

    monkeypatch.setattr(pipeline, "quantize", quantize)


@pytest.mark.usefixtures("stop_before_quantization")
def test_a_stage_whose_settings_changed_is_done_again_and_those_after_it(
    finished: Finished, tmp_path: Path, recorder: type
) -> None:
    output = finished.copy(tmp_path / "out")
    # As many channels go as before, so that nothing has to be exported again.
    changed = dataclasses.replace(TINY, prune=PruneRecipe(ratio=0.45, steps=1))
    told = recorder()
    with pytest.raises(AskedError):
        compress_model(
            finished.teacher, output, recipe=changed, photos=[finished.photos], progress=told
        )
    assert taken_over(told) == ["distilled"]
    pruned = open_bundle(output / "pruned")
    assert pruned.manifest.history[-1].recipe["prune"]["ratio"] == 0.45
    # The student was there, but made from another pruned network.
    assert not (output / "student").exists()


@pytest.mark.usefixtures("stop_before_quantization")
def test_a_recipe_that_prunes_nothing_goes_from_distilling_to_quantizing(
    finished: Finished, tmp_path: Path, recorder: type
) -> None:
    output = finished.copy(tmp_path / "out")
    unpruned = dataclasses.replace(TINY, prune=PruneRecipe(ratio=0))
    with pytest.raises(AskedError) as asked:
        compress_model(
            finished.teacher,
            output,
            recipe=unpruned,
            photos=[finished.photos],
            progress=recorder(),
        )
    assert str(asked.value) == open_bundle(output / "distilled").identity


@pytest.mark.usefixtures("stop_before_quantization")
def test_a_run_stopped_in_its_stages_ends_as_if_it_had_not_been(
    finished: Finished, tmp_path: Path, recorder: type
) -> None:
    def run(progress: Any) -> None:
        output, photos = tmp_path / "stopped", [finished.photos]
        compress_model(finished.teacher, output, recipe=TINY, photos=photos, progress=progress)

    with pytest.raises(Interrupted):
        run(recorder(ctrl_c_at=("pixels", 1)))
    with pytest.raises(Interrupted):
        run(recorder(ctrl_c_at=("perceptual", 1)))
    told = recorder()
    with pytest.raises(AskedError, match=finished.made.bundle.identity):
        run(told)
    assert [entry for entry in told.begun if entry[0] in {"pixels", "perceptual"}] == [
        ("pixels", 2, 2),
        ("perceptual", 2, 1),
        ("perceptual", 1, 0),
    ]


def test_a_target_that_is_not_there_is_refused_before_any_work(
    finished: Finished, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(TINY, bench=BenchRecipe(targets=("cpu:200",)))
    with pytest.raises(OptionError, match="cpu:200 needs 200 cores"):
        compress_model(finished.teacher, tmp_path / "out", recipe=recipe, photos=[finished.photos])
    assert not (tmp_path / "out").exists()


def test_a_painting_that_terms_need_is_asked_for_before_any_work(tmp_path: Path) -> None:
    terms = dataclasses.replace(TINY.distill, terms="moments=1")
    recipe = dataclasses.replace(TINY, distill=terms)
    with pytest.raises(OptionError, match=r"names moments, .*: give it by --style"):
        compress_model(tmp_path / "none", tmp_path / "out", recipe=recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_the_users_own_is_not_written_into(
    styled_teacher: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not nstc's"):
        compress_model(styled_teacher.path, str(tmp_path), recipe=TINY)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
def test_a_checkpoint_that_was_replaced_is_imported_anew(
    tmp_path: Path, photos: PhotoSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReachedError(Exception):
        """Distilling begins, which is another test's."""

    def reached(*_: Any, **__: Any) -> None:
        raise ReachedError

    monkeypatch.setattr(pipeline, "distill", reached)
    imported = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        torch.save(TransformerNet().state_dict(), tmp_path / "candy.pth")
        with pytest.raises(ReachedError):
            compress_model(
                tmp_path / "candy.pth",
                tmp_path / "out",
                recipe=TINY,
                photos=[photos.paths[0].parent],
            )
        imported.append(open_bundle(tmp_path / "out" / "teacher").identity)
    assert imported[0] == imported[1] != imported[2]


def test_what_is_learned_from_never_judges(photos: PhotoSet) -> None:
    learned, judged = split_photos([])
    assert set(learned.paths).isdisjoint(judged.paths)
    assert {"chelsea", "coffee"} <= {path.stem for path in judged}
    learned, judged = split_photos([photos.paths[0].parent])
    assert learned.paths == photos.paths
    assert set(learned.paths).isdisjoint(judged.paths)


def test_presets_are_there_by_name_and_no_other() -> None:
    made = {name: preset(name, "zoo:the-scream") for name in PRESETS}
    full, restyle = made["full"], made["restyle"]
    assert made["quick"].distill.steps < full.distill.steps
    assert made["restyle-quick"].distill.steps < restyle.distill.steps
    assert restyle.prune.removes_nothing
    assert made["restyle-quick"].prune.removes_nothing
    weights = ("style_weight", "content_weight", "balance", "steadiness_weight", "size")
    assert all(getattr(restyle.distill, n) == getattr(full.distill, n) for n in weights)
    with pytest.raises(OptionError, match="quick, restyle-quick, restyle, full"):
        preset("fast")
    assert tuple(made) == ("quick", "restyle-quick", "restyle", "full")


def test_a_broken_budget_stops_at_its_stage_and_keeps_what_is_there(
    finished: Finished, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = {"recipe": TINY, "photos": [finished.photos]}
    with pytest.raises(BudgetError, match="stage 'distilled': style_ratio"):
        compress_model(finished.teacher, output, budget=parse_budget("style_ratio<=0.001"), **run)
    assert is_bundle(output / "distilled")
    assert not (output / "pruned").exists()


@pytest.mark.slow
def test_a_budget_is_judged_by_the_quantized_file_at_the_end(
    finished: Finished, tmp_path: Path
) -> None:
    output = finished.copy(tmp_path / "out")
    size = open_bundle(output / "student").file("model.int8.onnx").stat().st_size
    run = {"recipe": TINY, "photos": [finished.photos]}
    compress_model(finished.teacher, output, budget=parse_budget(f"bytes<={size}"), **run)
    with pytest.raises(BudgetError, match=f"'student': bytes {size} "):
        compress_model(finished.teacher, output, budget=parse_budget(f"bytes<={size - 1}"), **run)
    assert is_bundle(output / "student")
    made = compress_model(  # and timed on the budget's target too
        finished.teacher, output, budget=parse_budget("latency<=99999ms@cpu:2"), **run
    )
    assert {row.target for row in made.result.rows} == {"cpu:1", "cpu:2"}
    with pytest.raises(BudgetError, match=r"'student': latency@cpu:2 .* \(latency<=0\.001ms@cpu:2"):
        compress_model(
            finished.teacher, output, budget=parse_budget("latency<=0.001ms@cpu:2"), **run
        )
