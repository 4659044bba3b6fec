"""Bundles that are put into the zoo."""

import dataclasses
import json
import shutil
import sys

import pytest
from lab import ship as ship_module
from lab.ship import ship, ship_pack, taught_students
from packed_students import *  # noqa: F403  (fixtures)

from nstc.benchmarks.subjects import find_subject, teacher_of
from nstc.compress.card import card, measurements
from nstc.core import zoo
from nstc.core.bundle import CARD_FILE, STYLE_FILE, open_bundle, revised_bundle
from nstc.core.errors import OptionError, OutputError
from nstc.core.manifest import Style
from nstc.core.recipe import BenchRecipe
from nstc.models.tensors import load_tensors, save_tensors


@pytest.fixture
def measured():
    """Rows of a manifest, of an included student."""
    return open_bundle("zoo:udnie").manifest.measurements


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    folder = tmp_path / "zoo"
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)
    return folder


@pytest.fixture
def teacher(make_bundle):
    return make_bundle("teacher", {"onnx": 0.8}, width=16)


@pytest.fixture
def bundle(make_bundle, teacher):
    return make_bundle("half", {"onnx": 0.5, "int8.onnx": 0.5}, teacher=teacher.origin())


@pytest.fixture
def untaught(make_bundle):
    """A bundle as `nstc restyle` leaves it: with no teacher."""
    return make_bundle("field", {"onnx": 0.6, "int8.onnx": 0.6})


@pytest.fixture
def measured_untaught(own_zoo, teacher, untaught, fake_bench, photos):
    """Makes the rows of that bundle, timed beside a teacher of another style."""
    ship(teacher, "wave", "teacher", ())

    def make(against="zoo:wave/teacher", judge=None):
        result = fake_bench(
            [untaught.path],
            against=against,
            artifacts=("onnx", "int8.onnx"),
            photos=photos,
            recipe=BenchRecipe(size=32, rounds=5, targets=("cpu:2",)),
            quality=True,
            teacher=judge,
        )
        return measurements(result.to_dict(), untaught)

    return make


def check_all(model) -> None:
    shipped = open_bundle(model)
    for name in shipped.manifest.files:
        shipped.file(name)


def test_a_teacher_that_ships_is_known_by_its_zoo_name(own_zoo, teacher, bundle) -> None:
    ship(teacher, "wave", "teacher", ())
    shipped = ship(bundle, "wave", "student", ())
    assert shipped.manifest.name == "wave"
    assert shipped.manifest.teacher is not None
    assert (shipped.manifest.teacher.zoo, shipped.manifest.teacher.path) == (
        "zoo:wave/teacher",
        None,
    )


def test_a_fast_student_ships_as_students_do(measured, own_zoo, teacher, bundle) -> None:
    ship(teacher, "wave", "teacher", ())
    for role in ("student", "fast"):
        ship(bundle, "wave", role, measured)
    fast = open_bundle("zoo:wave/fast")
    assert fast.manifest.name == "wave-fast"
    assert {row["model"] for row in fast.manifest.measurements} == {"wave-fast"}
    assert {"checks.json", "frontier.svg", "preview.jpg"} <= set(fast.manifest.files)
    assert teacher_of(find_subject("zoo:wave/fast"), None).path == own_zoo / "wave" / "teacher"
    plot = fast.file("frontier.svg").read_text(encoding="utf-8")
    assert plot.count(">wave, int8.onnx<") == plot.count(">wave-fast, int8.onnx<") == 1


class TestStatistics:
    def test_those_of_a_style_are_stored_once(self, own_zoo, bundle) -> None:
        for role in ("student", "teacher"):
            ship(bundle, "wave", role, ())
        assert zoo.zoo_names() == ("zoo:wave", "zoo:wave/teacher")
        assert list(own_zoo.rglob(STYLE_FILE)) == [own_zoo / "wave" / STYLE_FILE]
        check_all("zoo:wave")
        check_all("zoo:wave/teacher")

    def test_a_model_of_the_zoo_is_shipped_again(self, own_zoo, bundle) -> None:
        ship(bundle, "wave", "student", ())
        shutil.rmtree(bundle.path)
        ship(open_bundle("zoo:wave"), "wave", "student", ())
        check_all("zoo:wave")

    def test_others_than_the_styles_are_refused(self, own_zoo, bundle) -> None:
        ship(bundle, "wave", "teacher", ())
        other = bundle.path.with_name("other")
        with revised_bundle(bundle, other, bundle.manifest) as draft:
            tensors = load_tensors(bundle.file(STYLE_FILE))
            save_tensors({key: 0.9 * own for key, own in tensors.items()}, draft / STYLE_FILE)
        with pytest.raises(OutputError, match="is not the one that wave's bundles share"):
            ship(open_bundle(other), "wave", "student", ())
        assert zoo.zoo_names() == ("zoo:wave/teacher",)
        ship(open_bundle(other), "night", "student", ())
        check_all("zoo:night")


class TestWithoutTeacher:
    """A style whose student `nstc restyle` made."""

    def test_the_zoo_shows_no_ratios_and_what_it_was_timed_beside(
        self, own_zoo, untaught, measured_untaught
    ) -> None:
        ship(untaught, "night", "student", measured_untaught())
        check_all("zoo:night")
        assert (own_zoo / "night" / STYLE_FILE).is_file()
        (entry,) = [own for own in zoo.list_zoo() if own.name == "zoo:night"]
        assert entry.style == "night"
        assert entry.speedup is not None
        assert (entry.style_ratio, entry.content_ratio) == (None, None)
        assert zoo.basis([entry]) == [
            "zoo:night: without a teacher, and timed beside zoo:wave/teacher, medians over "
            "2 photographs at 32x32 on cpu:2"
        ]
        rows = open_bundle("zoo:night").manifest.measurements
        assert {row["quality"]["teacher"] for row in rows} == {"night"}
        assert str(untaught.path.parent) not in json.dumps([dict(row) for row in rows])

    def test_its_card_names_the_painting_and_compares_with_no_teacher(
        self, untaught, measured_untaught
    ) -> None:
        credit = "Georges Seurat, Port-en-Bessin, 1888 (public domain)"
        shipped = ship(untaught, "night", "student", measured_untaught(), credit=credit)
        text = shipped.file(CARD_FILE).read_text(encoding="utf-8")
        assert f"- style: night, {credit} (statistics of painting)" in text
        assert "timed beside zoo:wave/teacher in float in the same run" in text
        assert "The model has no teacher: ratios are each file's over its own float file's" in text
        assert "the teacher's" not in text
        assert "frontier.svg" not in shipped.manifest.files

    def test_a_card_says_what_is_timed_beside_its_own_float_file(
        self, untaught, measured_untaught, monkeypatch
    ) -> None:
        monkeypatch.chdir(untaught.path)
        rows = measured_untaught("../field")  # another spelling of the same folder
        assert {row["reference"] for row in rows} == {None}
        text = card(dataclasses.replace(untaught.manifest, measurements=rows))
        assert "timed beside its own float file in the same run" in text

    @pytest.mark.parametrize("against", ["itself", "half", "zoo:wave", "two"])
    def test_timed_beside_anything_but_one_teacher_of_the_zoo_it_does_not_ship(
        self, untaught, bundle, measured_untaught, against
    ) -> None:
        ship(bundle, "wave", "student", ())
        models = {"itself": untaught.path, "half": bundle.path, "two": untaught.path}
        rows = measured_untaught(models.get(against, against))
        if against == "two":
            rows += measured_untaught()
        with pytest.raises(OutputError, match=r"field was timed beside .* --against zoo:"):
            ship(untaught, "night", "student", rows)
        assert "zoo:night" not in zoo.zoo_names()

    def test_another_model_of_its_name_is_not_itself(
        self, untaught, measured_untaught, make_bundle, tmp_path, monkeypatch
    ) -> None:
        other = make_bundle("namesake", {"onnx": 0.4})
        shutil.copytree(other.path, tmp_path / "elsewhere" / untaught.name)
        monkeypatch.chdir(tmp_path / "elsewhere")
        rows = measured_untaught(untaught.name)
        assert {row["reference"] for row in rows} == {untaught.name}
        with pytest.raises(OutputError, match="timed beside field, and a model without a teacher"):
            ship(untaught, "night", "student", rows)
        with pytest.raises(OutputError, match=r"was judged by field, .* measure it without"):
            measured_untaught(judge=untaught.name)

    def test_a_teacher_that_is_none_of_its_own_does_not_judge_it(self, measured_untaught) -> None:
        with pytest.raises(OutputError, match="field was judged by zoo:wave/teacher, and a model"):
            measured_untaught(judge="zoo:wave/teacher")

    def test_it_is_in_no_table_of_students_beside_their_teachers(
        self, untaught, bundle, measured_untaught
    ) -> None:
        ship(untaught, "night", "student", measured_untaught())
        ship(bundle, "wave", "student", ())
        assert taught_students() == ["zoo:wave"]

    def test_a_painting_without_credit_does_not_ship(self, own_zoo, untaught) -> None:
        style = dataclasses.replace(untaught.manifest.style, credit=None)
        manifest = dataclasses.replace(untaught.manifest, style=style)
        with revised_bundle(untaught, untaught.path, manifest):
            pass
        with pytest.raises(OutputError, match="does not say who made its painting: give --credit"):
            ship(open_bundle(untaught.path), "night", "student", ())
        assert zoo.zoo_names() == ()

    def test_no_painting_takes_no_credit(self, own_zoo, untaught) -> None:
        manifest = dataclasses.replace(untaught.manifest, style=None)
        with revised_bundle(untaught, untaught.path, manifest):
            pass
        with pytest.raises(OutputError, match="has no painting to credit: leave out --credit"):
            ship(open_bundle(untaught.path), "night", "student", (), credit="Nobody, 1900")


class TestPack:
    @pytest.fixture
    def shipped(self, own_zoo, shared_pack, monkeypatch):
        words = ["ship", str(shared_pack.bundle.path), "seasons", "pack"]
        monkeypatch.setattr(sys, "argv", words)
        ship_module.main()
        return open_bundle("zoo:seasons")

    def test_ships_under_a_name_of_its_own(self, own_zoo, shipped, shared_pack) -> None:
        assert zoo.zoo_names() == ("zoo:seasons",)
        assert zoo.zoo_students() == ()
        check_all("zoo:seasons")
        text = shipped.file(CARD_FILE).read_text(encoding="utf-8")
        assert text.endswith(
            "The preview has them below the photographs, in this order:\n\n"
            "- day: Nobody, 1900\n- night: Nobody, 1900\n"
        )
        assert "preview.jpg" in shipped.manifest.files
        folder = str(shared_pack.bundle.path.parent.parent)
        for name in ("manifest.json", "styles.json"):
            assert folder not in (shipped.path / name).read_text(encoding="utf-8")

    def test_a_style_and_a_pack_have_different_names(self, own_zoo, bundle, shared_pack) -> None:
        for role in ("teacher", "fast"):
            ship(bundle, "seasons", role, ())
        with pytest.raises(OutputError, match="zoo:seasons has a fast, and a pack has no name of"):
            ship_pack(shared_pack, "seasons")
        ship_pack(shared_pack, "year")
        with pytest.raises(OutputError, match="zoo:year has a pack"):
            ship(bundle, "year", "student", ())
        assert zoo.zoo_names() == ("zoo:seasons/fast", "zoo:seasons/teacher", "zoo:year")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"style": Style(name="x", source="painting")}, "who made their paintings: night. "),
            ({"name": "two nights"}, "are called 'two nights': join them anew with names of"),
        ],
    )
    def test_a_style_that_does_not_ship(self, own_zoo, shared_pack, change, reason) -> None:
        day, night = shared_pack.styles
        pack = dataclasses.replace(shared_pack, styles=(day, dataclasses.replace(night, **change)))
        with pytest.raises(OutputError, match=reason):
            ship_pack(pack, "seasons")
        assert zoo.zoo_names() == ()

    def test_credits_are_no_markdown_and_a_photograph_needs_none(
        self, own_zoo, pack_of_strengths
    ) -> None:
        day, night, photograph = pack_of_strengths.styles
        style = Style(name="x", source="painting", credit="<b>Nobody</b> [x](y)")
        pack = dataclasses.replace(
            pack_of_strengths,
            styles=(dataclasses.replace(day, style=style), night, photograph),
        )
        text = ship_pack(pack, "seasons").file(CARD_FILE).read_text(encoding="utf-8")
        assert r"- day: \<b\>Nobody\</b\> \[x\](y)" in text
        assert text.endswith("- photograph\n")

    def test_a_pack_is_no_student(self, own_zoo, shared_pack, bundle, monkeypatch) -> None:
        with pytest.raises(OutputError, match="is a pack of styles: give pack in place of student"):
            ship(shared_pack.bundle, "seasons", "student", ())
        monkeypatch.setattr(sys, "argv", ["ship", str(bundle.path), "seasons", "pack"])
        with pytest.raises(OptionError, match="is not a pack of styles"):
            ship_module.main()
