"""A catalogue of paintings: what is refused, what is kept, and what a failing style stops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_networks import bundle_of, tiny_student

from nstc.compress.restyling import catalogue
from nstc.compress.restyling.catalogue import CatalogueStyle, build_zoo, read_catalogue
from nstc.core.bundle import open_bundle
from nstc.core.errors import (
    BundleError,
    DivergedError,
    ImageError,
    Interrupted,
    OptionError,
    OutputError,
    RecipeError,
)
from nstc.core.photos import PhotoSet
from nstc.core.recipe import RestyleRecipe
from nstc.runtime.ray_jobs import OnRay, opened_jobs
from nstc.runtime.session import open_session
from nstc.runtime.verification import verify

Write = Callable[[str], Path]
ONE = '[[styles]]\nname = "one"\npainting = "a.png"\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a catalogue beside two paintings."""
    for name, seed in (("a.png", 1), ("b.png", 2)):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)

    def written(text: str) -> Path:
        path = tmp_path / "catalogue.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def restyled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `restyle` is asked for; a stand-in writes a student at once, and fails for "bad"."""
    calls: list[dict[str, Any]] = []

    def stand_in(painting: Path, output: Path, **given: Any) -> Any:
        calls.append({"painting": painting, "output": output, **given})
        if given["name"] == "bad":
            raise DivergedError("perceptual: the loss became nan at step 3.")
        if given["name"] == "huge":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        if given["name"] == "stopped":
            raise Interrupted("perceptual stopped.")
        return bundle_of(tiny_student(), output)

    monkeypatch.setattr(catalogue, "restyle", stand_in)
    return calls


class TestReading:
    def test_settings_and_credit(self, write: Write, tmp_path: Path) -> None:
        path = write(
            '[restyle]\ntime = "10min"\nsize = 128\n'
            '[[styles]]\nname = "one"\npainting = "a.png"\ntitle = "Udnie"\n'
            'artist = "Francis Picabia"\nyear = 1913\nlicence = "public domain"\n'
            'init = "zoo:udnie"\nrestyle = { style_strength = 0.5 }\n'
            '[[styles]]\nname = "two"\npainting = "b.png"\nrestyle = { steps = 7 }\n'
        )
        assert read_catalogue(path) == (
            CatalogueStyle(
                name="one",
                painting=tmp_path / "a.png",
                credit="Francis Picabia, Udnie, 1913 (public domain)",
                init="zoo:udnie",
                recipe=RestyleRecipe(time="10min", size=128, style_strength=0.5),
            ),
            CatalogueStyle(
                name="two",
                painting=tmp_path / "b.png",
                credit=None,
                init=None,
                recipe=RestyleRecipe(steps=7, size=128),  # not the time of all
            ),
        )

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "has no styles"),
            ("styles = []", "styles"),
            ("[[styles]]", "has no name"),
            ('[[styles]]\nname = "one"', "has no painting"),
            (ONE + 'artst = "a"', "artst is not a key that this nstc knows"),
            (ONE + 'year = "1913"', "year is '1913': expected"),
            (ONE + "year = 19130", "year is 19130: expected"),
            (ONE + ONE, "two styles have the name one"),
            (ONE + ONE.replace("one", "ONE"), "are one file on some systems"),
            (ONE.replace("one", "../one"), "would lead out of the folder"),
            (ONE.replace("one", "con"), "it is a device on Windows"),
            (ONE.replace("one", ".one"), "begins with a dot"),
            (ONE.replace("one", "one.training"), "ends with .training"),
            (ONE.replace("one", "pipeline.json"), "are one file on some systems"),
            (ONE + "restyle = { stepps = 3 }", "unknown key restyle.stepps"),
            (ONE + 'restyle = { steps = "3" }', "restyle.steps is '3', expected a whole number"),
            ("[restyle]\nstepps = 3\n" + ONE, "unknown key restyle.stepps"),
            ("styles = 3", "styles"),
            ("[[styles", "not valid TOML"),
        ],
    )
    def test_what_is_no_catalogue(self, write: Write, text: str, told: str) -> None:
        with pytest.raises(RecipeError) as caught:
            read_catalogue(write(text))
        assert told in str(caught.value)
        assert "catalogue.toml" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_setting_out_of_range(self, write: Write) -> None:
        with pytest.raises(OptionError, match=r"one: \[restyle\] steps is 0: expected"):
            read_catalogue(write(ONE + "restyle = { steps = 0 }"))

    def test_a_student_that_is_missing(self, write: Write) -> None:
        with pytest.raises(BundleError, match="no zoo:nobody in the zoo"):
            read_catalogue(write(ONE + 'init = "zoo:nobody"'))


class TestBuilding:
    @pytest.fixture
    def styles(self, write: Write) -> Callable[..., tuple[CatalogueStyle, ...]]:
        """Styles of these names."""

        def of(*names: str, settings: str = "") -> tuple[CatalogueStyle, ...]:
            return read_catalogue(
                write("".join(ONE.replace("one", name) + settings for name in names))
            )

        return of

    def test_what_is_there_is_kept_and_what_changed_is_made_anew(
        self, styles: Any, tmp_path: Path, photos: PhotoSet, restyled: list[dict[str, Any]]
    ) -> None:
        output = tmp_path / "zoo"
        made = build_zoo(styles("one", "two"), output, photos=photos)
        assert [(own.name, own.status) for own in made] == [("one", "made"), ("two", "made")]
        assert open_bundle(made[1].path).path == output / "two"
        again = build_zoo(styles("two", "one", "three"), output, photos=photos)
        assert [own.status for own in again] == ["kept", "kept", "made"]
        changed = build_zoo(styles("one", settings='licence = "CC0"\n'), output, photos=photos)
        assert [own.status for own in changed] == ["made"]
        assert [call["output"].name for call in restyled] == ["one", "two", "three", "one"]
        assert (restyled[-1]["credit"], restyled[-1]["resume"]) == ("(CC0)", True)

    def test_ray_is_asked_for_what_is_left_and_not_started_for_nothing(
        self,
        styles: Any,
        tmp_path: Path,
        photos: PhotoSet,
        restyled: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        opened: list[tuple[Any, ...]] = []

        def stand_in(asked: Any, *given: Any) -> Any:
            opened.append((asked, *given[-2:]))
            return opened_jobs(None, *given)

        monkeypatch.setattr(catalogue, "opened_jobs", stand_in)
        ray = OnRay(address="local")
        for names in (["one"], ["one", "bad", "two"], ["two", "one"]):
            build_zoo(styles(*names), tmp_path / "zoo", photos=photos, ray=ray)
        assert opened == [(ray, 1, 0), (ray, 3, 1), (None, 2, 2)]
        assert [call["name"] for call in restyled] == ["one", "bad", "two"]

    def test_a_folder_that_it_did_not_make_is_left_alone(
        self, styles: Any, tmp_path: Path, photos: PhotoSet, restyled: list[dict[str, Any]]
    ) -> None:
        output = tmp_path / "zoo"
        build_zoo(styles("one"), output, photos=photos)
        (output / "field").mkdir()
        (output / "field/mine.txt").write_text("mine")
        made = build_zoo(styles("field", "two"), output, photos=photos)
        assert [own.status for own in made] == ["failed", "made"]
        assert "will not replace" in made[0].error
        assert (output / "field/mine.txt").read_text() == "mine"

    def test_one_that_fails_stops_no_other_and_is_tried_again(
        self, styles: Any, tmp_path: Path, photos: PhotoSet, restyled: list[dict[str, Any]]
    ) -> None:
        told: list[str] = []
        for _ in range(2):
            outcomes = build_zoo(
                styles("one", "bad", "two"),
                tmp_path / "zoo",
                photos=photos,
                finished=lambda own: told.append(f"{own.name} {own.status}"),
            )
        assert told[3:] == ["one kept", "bad failed", "two kept"]
        assert [own.error for own in outcomes] == [
            None,
            "perceptual: the loss became nan at step 3.",
            None,
        ]
        assert [call["name"] for call in restyled] == ["one", "bad", "two", "bad"]

    def test_torch_without_memory_is_a_style_that_fails(
        self, styles: Any, tmp_path: Path, photos: PhotoSet, restyled: list[dict[str, Any]]
    ) -> None:
        made = build_zoo(styles("huge", "two"), tmp_path / "zoo", photos=photos)
        assert [own.status for own in made] == ["failed", "made"]
        assert "there is not enough memory" in (made[0].error or "")

    def test_all_paintings_without_a_style_are_named_before_any_training(
        self,
        write: Write,
        tmp_path: Path,
        photos: PhotoSet,
        restyled: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Image.new("RGB", (99, 99), "white").save("constant.png")
        Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save("small.png")
        Path("text.png").write_text("a painting", encoding="utf-8")
        names = ["text", "a", "constant", "missing", "small"]
        text = "".join(f'[[styles]]\nname = "{own}"\npainting = "{own}.png"\n' for own in names)
        write(text)
        with pytest.raises(ImageError) as raised:
            build_zoo(read_catalogue(Path("catalogue.toml")), Path("zoo"), photos=photos)
        told = str(raised.value)
        assert told.startswith("no style can be learned from 4 of 5 paintings, and nothing was ")
        for reason in (
            "text: text.png is not a picture",
            "constant: constant.png is one colour throughout",
            "missing: no picture at missing.png: there is no such file.",
            "small: small.png is 9x9 pixels: a style needs 64",
        ):
            assert reason in told
        assert "\n" not in told
        assert "a.png is" not in told
        assert restyled == []
        assert not Path("zoo").exists()

    def test_a_painting_that_is_gone_by_then_is_an_outcome(
        self,
        write: Write,
        tmp_path: Path,
        photos: PhotoSet,
        restyled: list[dict[str, Any]],
    ) -> None:
        path = write(ONE + ONE.replace("one", "two").replace("a.png", "b.png"))
        told = build_zoo(
            read_catalogue(path),
            tmp_path / "zoo",
            photos=photos,
            finished=lambda _first: (tmp_path / "b.png").unlink(missing_ok=True),
        )
        assert [own.status for own in told] == ["made", "failed"]
        assert "b.png" in (told[1].error or "")
        (kept,) = build_zoo(read_catalogue(path)[:1], tmp_path / "zoo", photos=photos)
        assert kept.status == "kept"  # whatever became of the other

    def test_ctrl_c_ends_it_and_what_was_finished_is_kept(
        self, styles: Any, tmp_path: Path, photos: PhotoSet, restyled: list[dict[str, Any]]
    ) -> None:
        given = styles("one", "stopped", "two")
        with pytest.raises(Interrupted):
            build_zoo(given, tmp_path / "zoo", photos=photos)
        assert [call["name"] for call in restyled] == ["one", "stopped"]
        (kept,) = build_zoo(given[:1], tmp_path / "zoo", photos=photos)
        assert kept.status == "kept"

    def test_a_folder_of_somebody_is_not_written(
        self, styles: Any, tmp_path: Path, photos: PhotoSet
    ) -> None:
        output = tmp_path / "zoo"
        output.mkdir()
        (output / "letter.txt").write_text("mine")
        with pytest.raises(OutputError, match="holds files that are not nstc's"):
            build_zoo(styles("one"), output, photos=photos)

    def test_a_model_with_its_card(self, painting: Path, photos: PhotoSet, tmp_path: Path) -> None:
        """By a real training of some steps."""
        start = bundle_of(tiny_student(), tmp_path / "start")
        style = CatalogueStyle(
            name="stripes",
            painting=painting,
            credit="Nobody, Stripes, 1890 (CC0)",
            init=str(start.path),
            recipe=RestyleRecipe(steps=2, size=64),
        )
        (outcome,) = build_zoo([style], tmp_path / "zoo", photos=photos)
        assert outcome.to_dict() == {
            "name": "stripes",
            "status": "made",
            "path": str(tmp_path / "zoo" / "stripes"),
            "error": None,
        }
        bundle = open_bundle(outcome.path)
        assert bundle.manifest.name == "stripes"
        assert "Nobody, Stripes, 1890 (CC0)" in (outcome.path / "README.md").read_text()
        assert verify(outcome.path).errors == ()
        assert open_session(bundle) is not None
