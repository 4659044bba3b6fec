import dataclasses
import json
from pathlib import Path

import pytest

from nstc.core import zoo
from nstc.core.bundle import new_bundle, open_bundle, refuse_unwritable_bundle, revised_bundle
from nstc.core.errors import ArtifactError, BundleError, CorruptBundleError, OutputError
from nstc.core.zoo import (
    basis,
    list_zoo,
    resolve_model_path,
    zoo_folder,
    zoo_name_of,
    zoo_names,
    zoo_students,
)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A zoo of a whole style, one that has a teacher only, and things that are no models."""
    folder = tmp_path / "zoo"
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)
    whole = ("student", "fast", "teacher", "pruned-teacher")
    for model in (*(f"wave/{role}" for role in whole), "night/teacher"):
        (folder / model).mkdir(parents=True)
        (folder / model / "manifest.json").write_text("{}")
    (folder / "unfinished" / "student").mkdir(parents=True)
    (folder / "README.md").write_text("the zoo")
    return folder


def test_a_pack_is_called_by_its_name_alone_and_is_no_student(shipped):
    (shipped / "seasons" / "pack").mkdir(parents=True)
    (shipped / "seasons" / "pack" / "manifest.json").write_text("{}")
    assert zoo_names(("pack",)) == ("zoo:seasons",)
    assert resolve_model_path("zoo:seasons") == shipped / "seasons" / "pack"
    assert zoo_name_of(shipped / "seasons" / "pack") == "zoo:seasons"
    assert zoo.named(shipped / "seasons" / "pack" / "styles.json") == "styles.json of zoo:seasons"
    assert zoo_students() == ("zoo:wave", "zoo:wave/fast")


def test_names_are_sorted_with_the_students_before_their_teacher(shipped):
    assert zoo_names() == (
        "zoo:night/teacher",
        "zoo:wave",
        "zoo:wave/fast",
        "zoo:wave/teacher",
        "zoo:wave/pruned-teacher",
    )
    assert zoo_students() == ("zoo:wave", "zoo:wave/fast")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("zoo:wave", "wave/student"),
        ("zoo:wave/student", "wave/student"),
        ("zoo:wave/fast", "wave/fast"),
        ("zoo:wave/teacher", "wave/teacher"),
        ("zoo:wave/pruned-teacher", "wave/pruned-teacher"),
        (Path("zoo:night/teacher"), "night/teacher"),
    ],
)
def test_a_zoo_name_leads_to_its_folder(shipped, name, folder):
    assert resolve_model_path(name) == shipped / folder


@pytest.mark.parametrize("path", ["wave", "some/folder", "./zoo/wave", Path("/tmp/zoo:wave")])
def test_anything_else_is_a_path(shipped, path):
    assert resolve_model_path(path) == Path(path)


@pytest.mark.parametrize(
    "name",
    [
        "zoo:",
        "zoo:night",
        "zoo:unfinished",
        "zoo:Wave",
        "zoo:wave/pupil",
        "zoo:wave/teacher/..",
        "zoo:../zoo/wave",
        "zoo:README.md",
    ],
)
def test_a_name_that_nothing_ships_under_is_told_what_there_is(shipped, name):
    with pytest.raises(BundleError) as caught:
        resolve_model_path(name)

    assert str(caught.value).partition(" Did you mean ")[0] == (
        f"no {name} in the zoo; there is zoo:night/teacher, zoo:wave, zoo:wave/fast, "
        "zoo:wave/teacher, zoo:wave/pruned-teacher."
    )


def test_a_zoo_that_did_not_ship_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "nowhere")

    assert zoo_names() == ()
    assert zoo_name_of(tmp_path) is None
    with pytest.raises(BundleError, match="no zoo:wave in the zoo; there is nothing"):
        resolve_model_path("zoo:wave")


def test_a_folder_of_the_zoo_knows_its_name(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(shipped)
    (tmp_path / "link").symlink_to(shipped / "wave" / "teacher")

    assert zoo_name_of(shipped / "wave" / "student") == "zoo:wave"
    assert zoo_name_of(Path("wave/teacher")) == "zoo:wave/teacher"
    assert zoo_name_of(tmp_path / "link") == "zoo:wave/teacher"
    assert zoo_name_of(shipped / "wave") is None
    assert zoo_name_of(tmp_path) is None


def test_a_name_is_looked_up_at_one_place(shipped, monkeypatch) -> None:
    looked_at = []

    def counted(path, *rest, real=Path.is_file):
        looked_at.append(path)
        return real(path, *rest)

    monkeypatch.setattr(Path, "is_file", counted)
    assert zoo_name_of(shipped / "wave" / "teacher") == "zoo:wave/teacher"
    assert resolve_model_path("zoo:wave") == shipped / "wave" / "student"
    assert looked_at == [
        shipped / "wave" / "teacher" / "manifest.json",
        shipped / "wave" / "student" / "manifest.json",
    ]


def test_a_bundle_of_the_zoo_is_remembered_by_its_name_and_not_its_path(
    make_bundle, tmp_path, monkeypatch
):
    folder = tmp_path / "zoo"
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)
    with zoo.shipping():
        inside = make_bundle(folder / "negative" / "student")
    outside = make_bundle(tmp_path / "mine")

    assert (inside.origin().zoo, inside.origin().path) == ("zoo:negative", None)
    assert (outside.origin().zoo, outside.origin().path) == (None, str(tmp_path / "mine"))
    assert open_bundle("zoo:negative").identity == inside.identity


def test_the_zoo_lies_in_the_package():
    import nstc.models

    assert zoo_folder() == Path(nstc.models.__path__[0]) / "zoo"


def measured(bundle, rows):
    manifest = dataclasses.replace(bundle.manifest, measurements=tuple(rows))
    with revised_bundle(bundle, bundle.path, manifest):
        pass


ROW = {
    "artifact": "int8.onnx",
    "speedup": {"median": 41.6, "low": 40, "high": 43},
    "quality": {"style_ratio": 1.254, "content_ratio": 1.1},
}


@pytest.fixture
def listed(make_bundle, tmp_path, monkeypatch):
    """Gives the entry of a zoo with one model in it."""
    folder = tmp_path / "zoo"
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)

    def entry(rows=(), **options):
        with zoo.shipping():
            measured(make_bundle(folder / "negative" / "student", **options), rows)
        (only,) = list_zoo()
        return only, folder / "negative" / "student"

    return entry


def test_an_entry_says_what_the_manifest_says(listed):
    entry, folder = listed([{**ROW, "artifact": "onnx", "speedup": None}, ROW])

    assert entry.name == "zoo:negative"
    assert entry.stage == "quantized"
    assert entry.style == "negative"
    assert entry.artifacts == ("int8.onnx", "onnx")
    assert entry.size_bytes == (folder / "model.int8.onnx").stat().st_size
    assert (entry.speedup, entry.style_ratio, entry.content_ratio) == (41.6, 1.254, 1.1)


def test_an_entrys_cells_are_what_the_table_shows(listed):
    entry, folder = listed([ROW])
    kilobytes = f"{(folder / 'model.int8.onnx').stat().st_size / 1000:.0f}"

    assert entry.cells() == (
        "zoo:negative",
        "quantized",
        "negative",
        "int8.onnx, onnx",
        kilobytes,
        "41.6",
        "1.25",
    )


def test_a_model_without_int8_and_measurements_shows_its_weights(listed):
    entry, folder = listed(artifacts=())

    assert entry.size_bytes == (folder / "weights.safetensors").stat().st_size
    assert (entry.speedup, entry.style_ratio, entry.content_ratio) == (None, None, None)
    assert entry.cells()[3:] == ("-", "0", "-", "-")


def test_a_model_without_int8_shows_how_fast_its_float_file_is(listed):
    entry, _ = listed([{**ROW, "artifact": "onnx"}], artifacts=())

    assert (entry.speedup, entry.style_ratio) == (41.6, 1.254)


@pytest.mark.parametrize("quality", [None, {"style_ratio": None, "content_ratio": None}])
def test_a_model_measured_without_quality_is_listed(listed, quality):
    entry, _ = listed([{**ROW, "quality": quality}])

    assert (entry.speedup, entry.style_ratio, entry.content_ratio) == (41.6, None, None)


def test_the_figures_are_those_measured_last_and_say_on_what(listed):
    photos = {"count": 32, "sets": ["unseen"], "list_sha256": "0" * 64}
    last = {
        **ROW,
        "speedup": {"median": 103.4},
        "judged_by": photos,
        "size": 512,
        "target": "cpu:2",
    }
    entry, _ = listed([ROW, last])

    assert entry.cells()[-2:] == ("103", "1.25")
    assert entry.taken == "32 photographs at 512x512 on cpu:2"
    assert basis([entry]) == [
        "times faster and style ratio: compared with the model's teacher, medians over "
        "32 photographs at 512x512 on cpu:2"
    ]
    included, _ = listed([{**last, "judged_by": {**photos, "count": 12, "sets": ["samples"]}}])
    assert included.taken == "12 sample photographs at 512x512 on cpu:2"
    other = dataclasses.replace(entry, name="zoo:other", taken="12 sample photographs")
    assert [line.partition(":")[2][:9] for line in basis([entry, other])] == [
        "negative:",
        "other: co",
    ]


def test_a_student_without_a_teacher_shows_how_fast_it_is_and_no_ratios(listed):
    _, folder = listed()
    bundle = open_bundle(folder)
    row = {**ROW, "reference": "zoo:wave/teacher"}
    manifest = dataclasses.replace(bundle.manifest, teacher=None, measurements=(row,))
    with zoo.shipping(), revised_bundle(bundle, folder, manifest):
        pass
    (entry,) = list_zoo()
    assert entry.cells()[-2:] == ("41.6", "-")
    assert (entry.style_ratio, entry.content_ratio) == (None, None)
    assert basis([entry]) == [
        "zoo:negative: without a teacher, and timed beside zoo:wave/teacher, medians over "
        "some photographs"
    ]
    other = dataclasses.replace(entry, name="zoo:other", faster_than=None)
    taught, untaught = basis([other, entry])
    assert taught.startswith("times faster and style ratio: compared with the model's teacher")
    assert untaught.startswith("zoo:negative: without a teacher, and timed beside zoo:wave/teacher")


def test_entries_are_plain_json(listed):
    entry, _ = listed([ROW])

    assert json.loads(json.dumps(entry.to_dict()))["artifacts"] == ["int8.onnx", "onnx"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("wave", "zoo:wave"),
        ("zoo:wav", "zoo:wave"),
        ("Wave/Teacher", "zoo:wave/teacher"),
        ("zoo/wave", "zoo:wave"),
        ("wvae", "zoo:wave"),
        ("zoo:wave/fats", "zoo:wave/fast"),
        (Path("wave/pruned_teacher"), "zoo:wave/pruned-teacher"),
    ],
)
def test_a_name_that_is_nearly_one_of_the_zoo_is_asked_about(shipped, given, meant):
    with pytest.raises(BundleError, match=rf"Did you mean {meant}\?$"):
        open_bundle(given)


def test_a_path_that_is_like_none_is_not(shipped):
    with pytest.raises(BundleError) as caught:
        open_bundle("runs/student")
    assert "Did you mean" not in str(caught.value)


class TestReadOnly:
    """Shipped bundles, for every verb that writes through the doors of `nstc.core.bundle`."""

    @pytest.fixture
    def before(self, shipped):
        return {path: path.read_bytes() for path in shipped.rglob("*") if path.is_file()}

    @pytest.mark.parametrize("role", ["student", "new", "student/inside"])
    def test_no_door_opens(self, shipped, before, bundle, role):
        target = shipped / "wave" / role
        for door in (
            lambda: new_bundle(target, bundle.manifest).__enter__(),
            lambda: revised_bundle(bundle, target, bundle.manifest).__enter__(),
            lambda: refuse_unwritable_bundle(target),
        ):
            with pytest.raises(OutputError, match=r"is included in nstc and is read-only"):
                door()
        assert {p: p.read_bytes() for p in shipped.rglob("*") if p.is_file()} == before

    def test_nor_by_a_link(self, shipped, before, bundle, tmp_path):
        (tmp_path / "link").symlink_to(shipped / "wave" / "student")
        with pytest.raises(OutputError, match="zoo:wave is included in nstc"):
            refuse_unwritable_bundle(shipped / "wave" / "student")
        with pytest.raises(OutputError, match="read-only"):
            refuse_unwritable_bundle(tmp_path / "link")

    def test_scripts_that_ship_may(self, shipped, before, bundle):
        with zoo.shipping(), new_bundle(shipped / "wave" / "student", bundle.manifest) as draft:
            (draft / "weights.safetensors").write_bytes(b"new")
        assert (shipped / "wave" / "student" / "weights.safetensors").read_bytes() == b"new"
        with pytest.raises(OutputError):
            refuse_unwritable_bundle(shipped / "wave" / "student")


def test_messages_call_what_ships_by_its_name(shipped, make_bundle, monkeypatch):
    with zoo.shipping():
        made = make_bundle(shipped / "wave" / "student")
    with pytest.raises(ArtifactError, match=r"^zoo:wave holds no artifact fp16; "):
        made.artifact("fp16")
    (made.path / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(CorruptBundleError, match=r"^weights.safetensors of zoo:wave is damaged"):
        made.file("weights.safetensors")
