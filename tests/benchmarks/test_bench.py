"""The whole benchmark on real sessions: graphs that scale brightness."""

import dataclasses
import json
import os

import pytest

from nstc.benchmarks.bench import bench
from nstc.benchmarks.quality import judging
from nstc.benchmarks.targets import base, cpu
from nstc.benchmarks.timing import latency
from nstc.core.errors import ArtifactError, OptionError, PhotosError, TeacherError
from nstc.core.files import sha256_of
from nstc.core.graph_form import read_inputs
from nstc.core.manifest import Origin
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract

pytestmark = pytest.mark.usefixtures("quick")

RECIPE = BenchRecipe(size=32, rounds=3, targets=("cpu:1",))


def test_a_row_for_every_artifact_beside_one_reference(teacher, student, photo_set):
    photos = photo_set(3)
    result = bench([student.path, teacher.path], against=teacher.path, photos=photos, recipe=RECIPE)
    assert [(row.model, row.artifact) for row in result.rows] == [
        (str(student.path), "int8.onnx"),
        (str(student.path), "onnx"),
        (str(teacher.path), "onnx"),
    ]
    assert (result.references[0].model, result.references[0].artifact) == (
        str(teacher.path),
        "onnx",
    )
    assert result.references[0].target == "cpu:1"
    for row in result.rows:
        assert len(row.latency_ms.samples) == 3
        assert min(row.latency_ms.samples) > 0
        assert row.speedup.low <= row.speedup.median <= row.speedup.high
        assert row.size_bytes == (student.path / "model.onnx").stat().st_size
    params = [row.params for row in result.rows]
    assert params[0] == params[1] is not None
    assert params[1] != params[2]
    assert result.protocol.photos.list_sha256 == photos.list_sha256()


def test_quality_is_of_the_file_that_ships_beside_the_teachers_float_graph(
    teacher, student, photo_set
):
    result = bench([student.path], against=teacher.path, photos=photo_set(3), recipe=RECIPE)
    int8, same_as_teacher = (row.quality for row in result.rows)
    assert int8 is not None
    assert same_as_teacher is not None
    assert same_as_teacher.metrics["style_ratio"].median == 1.0
    assert same_as_teacher.metrics["ssim"].median == 1.0
    # photographs from 30 to 225: 0.8 of them is 0.3 away from 0.5 of them, up to 68 levels
    assert 12 < int8.metrics["psnr_db"].median < 20
    assert int8.metrics["content_ratio"].median < 1  # nearer to the photograph
    assert (int8.teacher, int8.style_source, int8.photos) == (str(teacher.path), "painting", 3)
    json.loads(result.to_json())


@pytest.mark.usefixtures("brush")
def test_a_device_that_draws_by_itself_is_judged_by_its_own_pictures(teacher, student, photo_set):
    recipe = dataclasses.replace(RECIPE, targets=("cpu:1", "mobile", "brush"))
    result = bench([student.path], artifacts=["int8"], photos=photo_set(2), recipe=recipe)
    cpu, mobile, brush = (row.quality.metrics["psnr_db"].median for row in result.rows)
    assert cpu == mobile != brush


def test_without_quality_no_teacher_is_needed(make_bundle, teacher, photo_set):
    lost = Origin(name="gone", sha256="0" * 64, path="/nowhere")
    student = make_bundle("student", {"int8.onnx": 0.8}, teacher=lost)
    options = {"against": teacher.path, "photos": photo_set(1), "recipe": RECIPE}
    result = bench([student.path], quality=False, **options)
    assert result.rows[0].quality is None
    assert result.protocol.vgg is None
    with pytest.raises(TeacherError, match="--teacher"):
        bench([student.path], **options)


def test_a_foreign_teacher_and_its_style(make_bundle, photo_set, foreign_file):
    known = make_bundle("known", {"onnx": 0.5}, style_source="painting")
    unknown = make_bundle("unknown", {"onnx": 0.5}, style_source=None)
    result = bench(
        [known.path, unknown.path, foreign_file],
        against=foreign_file,
        photos=photo_set(2),
        recipe=RECIPE,
        teacher=foreign_file,
    )
    first, second, itself = (row.quality for row in result.rows)
    assert first is not None
    assert second is not None
    assert itself is not None
    sources = [quality.style_source for quality in (first, second, itself)]
    assert sources == ["painting", "outputs", "outputs"]
    assert itself.metrics["style_ratio"].median == 1.0
    assert first.metrics["style_ratio"].median == pytest.approx(1.0, abs=0.05)
    row = result.rows[2]
    assert (row.model, row.artifact) == (str(foreign_file), "onnx")
    assert (row.params, row.macs) == (None, None)
    assert result.references[0].model == str(foreign_file)


def test_students_of_two_styles_of_one_file_are_judged_each_by_its_own(
    make_bundle, photo_set, styled, tmp_path
):
    path = styled(tmp_path / "net.onnx", "index")
    students = []
    for style, gain in (("0", 0.5), ("2", 0.9)):
        form = probe_contract(path, input_range=1, inputs=read_inputs([f"style={style}"])).form
        origin = Origin(name="net", sha256=sha256_of(path), path=str(path), form=form)
        bundle = make_bundle(f"student{style}", {"onnx": gain}, teacher=origin)
        students.append(bundle.path)
    result = bench(students, photos=photo_set(1), recipe=RECIPE)
    assert [row.quality.metrics["ssim"].median for row in result.rows] == pytest.approx([1, 1])


def test_chosen_artifacts_and_no_more_photographs_than_the_recipe_says(teacher, student, photo_set):
    recipe = BenchRecipe(size=32, rounds=3, targets=("cpu:1",), quality_photos=2)
    result = bench(
        [student.path],
        against=teacher.path,
        artifacts=["int8"],
        photos=photo_set(5),
        recipe=recipe,
    )
    assert [row.artifact for row in result.rows] == ["int8.onnx"]
    assert result.protocol.photos.count == 2
    assert result.rows[0].quality is not None
    assert result.rows[0].quality.photos == 2


def test_what_is_missing_is_said_before_anything_is_timed(teacher, student, photo_set, monkeypatch):
    monkeypatch.setattr(base, "alternate", lambda *_, **__: pytest.fail("timed"))
    options = {"against": teacher.path, "photos": photo_set(1), "recipe": RECIPE}
    with pytest.raises(ArtifactError, match="by quantizing the model"):
        bench([student.path], artifacts=["dynamic"], **options)
    with pytest.raises(OptionError, match="nothing to bench"):
        bench([], **options)
    with pytest.raises(PhotosError, match="--photos"):
        bench([student.path], **{**options, "photos": PhotoSet((), ("none",))})
    with pytest.raises(OptionError, match="cores"):
        bench([student.path], **{**options, "recipe": BenchRecipe(size=32, targets=("cpu:256",))})


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no threads")
def test_timing_is_pinned_and_the_process_is_free_again(teacher, student, photo_set, monkeypatch):
    before = os.sched_getaffinity(0)
    seen = []

    def spy(*args, **kwargs):
        seen.append(os.sched_getaffinity(0))
        return latency.alternate(*args, **kwargs)

    monkeypatch.setattr(base, "alternate", spy)
    bench([student.path], against=teacher.path, photos=photo_set(1), recipe=RECIPE, quality=False)
    assert seen == [{min(before)}]
    assert os.sched_getaffinity(0) == before


def test_several_targets_each_with_its_reference_and_quality_judged_once(
    teacher, student, photo_set, monkeypatch
):
    judged, judge = [], judging.judge

    def spy(candidates, *args, **kwargs):
        judged.extend(candidates)
        return judge(candidates, *args, **kwargs)

    monkeypatch.setattr(judging, "judge", spy)
    told = []
    result = bench(
        [student.path],
        against=teacher.path,
        photos=photo_set(2),
        recipe=BenchRecipe(size=32, rounds=3, targets=("cpu:1", "mobile")),
        finished=told.append,
    )
    assert [(row.target, row.artifact) for row in result.rows] == [
        ("cpu:1", "int8.onnx"),
        ("cpu:1", "onnx"),
        ("mobile", "int8.onnx"),
        ("mobile", "onnx"),
    ]
    assert [reference.target for reference in result.references] == ["cpu:1", "mobile"]
    assert result.reference_of(result.rows[2]) is result.references[1]
    assert result.rows[0].quality is result.rows[2].quality is not None
    assert len(judged) == 2
    stages = [(len(so_far.rows), so_far.unfinished) for so_far in told]
    assert stages == [(2, ("cpu:1", "mobile")), (2, ("mobile",)), (4, ("mobile",)), (4, ())]
    assert [row.quality is None for row in told[2].rows] == [False, False, True, True]
    assert "date" in result.taken


def test_times_are_told_before_judging_is_stopped(teacher, student, photo_set, monkeypatch):
    told = []

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "judge", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench(
            [student.path],
            against=teacher.path,
            photos=photo_set(1),
            recipe=BenchRecipe(size=32, rounds=3, targets=("cpu:1",)),
            finished=told.append,
        )
    (so_far,) = told
    assert [len(row.latency_ms.samples) for row in so_far.rows] == [3, 3]
    assert [len(own.latency_ms.samples) for own in so_far.references] == [3]
    assert so_far.unfinished == ("cpu:1",)


def test_what_is_finished_is_told_before_a_target_fails(teacher, student, photo_set, monkeypatch):
    told = []

    def broken(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cpu, "measure_footprint", broken)
    with pytest.raises(KeyboardInterrupt):
        bench(
            [student.path],
            against=teacher.path,
            photos=photo_set(1),
            recipe=BenchRecipe(size=32, rounds=3, targets=("cpu:1", "mobile")),
            quality=False,
            finished=told.append,
        )
    (so_far,) = told
    assert [row.target for row in so_far.rows] == ["cpu:1", "cpu:1"]
    assert so_far.unfinished == ("mobile",)


def test_memory_roofline_and_throughput_of_a_cpu_target(teacher, student, photo_set):
    recipe = BenchRecipe(size=32, rounds=3, targets=("cpu:1",), memory=True, roofline=True)
    result = bench(
        [student.path], against=teacher.path, photos=photo_set(1), recipe=recipe, quality=False
    )
    (reference,) = result.references
    assert reference.watch is not None
    assert reference.peaks is not None
    assert reference.peaks.threads == 1
    for row in result.rows:
        assert row.provider == "CPUExecutionProvider"
        assert row.throughput is not None
        assert row.throughput.frames_per_second > 0
        assert row.footprint is not None
        assert row.roofline is not None
        assert row.macs is not None
        speed = row.macs / 1e6 / sorted(row.latency_ms.samples)[1]
        assert row.roofline.achieved_gmac_s == pytest.approx(speed)
