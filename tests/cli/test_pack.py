"""`nstc pack`, and styles and blends in `nstc stylize`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from packed_students import *  # noqa: F403  (fixtures)

from nstc.core import decoding, distributions, zoo
from nstc.core.bundle import Bundle
from nstc.core.errors import OptionError
from nstc.core.images import Picture, read_picture, write_picture
from nstc.core.zoo import zoo_folder
from nstc.runtime.packs.blending import Blend
from nstc.runtime.packs.style_pack import INT8, Pack, open_pack
from nstc.runtime.stylizer import Stylizer

Members = tuple[Bundle, Bundle]


@pytest.fixture
def pack(shared_pack: Pack) -> Path:
    return shared_pack.bundle.path


@pytest.fixture
def photo(tmp_path: Path, pixels: np.ndarray) -> Path:
    write_picture(tmp_path / "photo.png", Picture(rgb=pixels))
    return tmp_path / "photo.png"


def test_join_show_and_extract(nstc, members: Members, tmp_path: Path) -> None:
    output = tmp_path / "styles"
    joined = nstc("pack", "join", f"noon={members[0].path}", members[1].path, "-o", output)
    assert (joined.code, joined.out) == (0, f"wrote {output}: noon, night\n")
    assert joined.err == ""
    shown = nstc("pack", "show", output)
    assert shown.code == 0
    for text in ("noon", "night", "The day", "The night", "Nobody, 1900"):
        assert text in shown.out
    content = json.loads(nstc("pack", "show", output, "--json").out)
    assert [own["name"] for own in content] == ["noon", "night"]
    made = nstc("pack", "extract", output, "--style", "night", "-o", tmp_path / "n.onnx")
    assert (made.code, made.out) == (0, f"wrote {tmp_path / 'n.onnx'}: night\n")
    assert (tmp_path / "n.onnx").read_bytes() == members[1].artifact(INT8).read_bytes()


def test_extract_writes_blends_and_files_for_tiles(nstc, pack: Path, tmp_path: Path) -> None:
    blend = Blend.of({"day": 0.5, "night": 0.5})
    done = nstc("pack", "extract", pack, "--blend", "day=1,night=1", "-o", tmp_path / "b.onnx")
    assert done.code == 0
    assert "the weights of the blend add up to 2, not to 1: taken as day=0.5, night=0.5" in done.err
    made = open_pack(pack).files(blend)
    assert (tmp_path / "b.onnx").read_bytes() == made[INT8]
    nstc("pack", "extract", pack, "--style", "day", "--tiles", "-o", tmp_path / "t.onnx")
    assert (tmp_path / "t.onnx").read_bytes() == open_pack(pack).files(Blend.of("day"))[
        "int8.tiles.onnx"
    ]


@pytest.mark.parametrize(
    ("flags", "style"),
    [
        (["--style", "night"], "night"),
        (["--blend", "day=0.25,night=0.75"], {"day": 0.25, "night": 0.75}),
        ([], "day"),
    ],
)
def test_stylize_in_a_style_or_a_blend(
    nstc, pack: Path, photo: Path, pixels: np.ndarray, flags: list[str], style
) -> None:
    output = photo.with_name("out.png")
    assert nstc("stylize", photo, "-m", pack, *flags, "-o", output).code == 0
    expected = Stylizer(pack, style=style)(pixels)
    np.testing.assert_array_equal(read_picture(output).rgb, expected)


class TestStrength:
    def test_is_a_blend_with_the_packs_photograph(
        self, nstc, pack_of_strengths: Pack, photo: Path, pixels: np.ndarray
    ) -> None:
        pack, output = pack_of_strengths.bundle.path, photo.with_name("out.png")
        call = ["stylize", photo, "-m", pack, "--style", "night", "--strength", 0.25]
        done = nstc(*call, "-o", output, "--json")
        assert done.code == 0
        told = json.loads(done.out)
        assert (told["strength"], told["strength_by"]) == (0.25, "network")
        said = "strength 0.25 is a blend with photograph of the pack, not of pixels"
        assert done.err.splitlines() == [said]
        made = Stylizer(pack, style={"night": 0.25, "photograph": 0.75})(pixels)
        np.testing.assert_array_equal(read_picture(output).rgb, made)

    @pytest.mark.parametrize("strength", [0, 1])
    def test_at_both_ends_it_is_of_pixels(
        self, nstc, pack_of_strengths: Pack, photo: Path, pixels: np.ndarray, strength: float
    ) -> None:
        pack, output = pack_of_strengths.bundle.path, photo.with_name("out.png")
        done = nstc("stylize", photo, "-m", pack, "--strength", strength, "-o", output, "--json")
        assert json.loads(done.out)["strength_by"] == "pixels"
        made = Stylizer(pack)(pixels, strength=strength)
        np.testing.assert_array_equal(read_picture(output).rgb, made)

    def test_without_a_photograph_it_is_of_pixels(
        self, nstc, pack: Path, photo: Path, pixels: np.ndarray
    ) -> None:
        output = photo.with_name("out.png")
        done = nstc("stylize", photo, "-m", pack, "--strength", 0.25, "-o", output, "--json")
        told = json.loads(done.out)
        assert (told["strength"], told["strength_by"], done.err) == (0.25, "pixels", "")
        made = Stylizer(pack)(pixels, strength=0.25)
        np.testing.assert_array_equal(read_picture(output).rgb, made)

    def test_show_says_which_style_it_is(self, nstc, pack_of_strengths: Pack) -> None:
        path = pack_of_strengths.bundle.path
        assert "none: the photograph itself" in nstc("pack", "show", path).out
        marks = [own["photograph"] for own in json.loads(nstc("pack", "show", path, "--json").out)]
        assert marks == [False, False, True]


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("stylize", ["--style", "night"]),
        ("stylize", ["--blend", "day=0.5,night=0.5"]),
        ("stylize", ["--style", "night", "--strength", 0.5]),
        ("pack", ["--style", "night"]),
    ],
)
def test_a_pack_is_opened_once(
    nstc,
    pack_of_strengths: Pack,
    photo: Path,
    verb: str,
    flags: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    read = decoding.read_file

    def counted(path: Path, *limit: int, **options: bool) -> bytes:
        opened.append(path.name)
        return read(path, *limit, **options)

    monkeypatch.setattr(decoding, "read_file", counted)
    path = pack_of_strengths.bundle.path
    words = [photo, "-m", path] if verb == "stylize" else ["extract", path]
    assert nstc(verb, *words, *flags, "-o", photo.with_name("out.png")).code == 0
    assert opened.count("styles.json") == 1


def test_another_style_is_not_what_exists_already(nstc, pack: Path, photo: Path) -> None:
    call = ["stylize", photo, "-m", pack, "-o", photo.with_name("out.png"), "--skip-existing"]
    assert "skipped" not in nstc(*call, "--style", "day").out
    assert "skipped" in nstc(*call, "--style", "day").out
    assert "skipped" not in nstc(*call, "--style", "night").out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--style", "dusk"], "has no style dusk: it has day, night"),
        (["--style", "nigt"], "Did you mean night?"),
        (["--blend", "day=-1,night=2"], "blend gives day a weight of -1: expected from 0 to"),
        (["--blend", "day=nan,night=1"], "blend gives day a weight of nan: expected from 0 to"),
        (["--blend", "day=1,day=1"], "blend names day twice: give it one weight"),
        (["--blend", "day=1,dusk=1"], "has no style dusk: it has day, night"),
        (["--blend", "day=1,dusk=0"], "has no style dusk: it has day, night"),
        (["--blend", "day=0"], "blend is day=0: expected a weight above 0"),
        (["--blend", "day"], "blend is day: expected styles and weights"),
        (["--style", "day", "--blend", "day=1"], "style is day and blend day=1: give one of"),
    ],
)
@pytest.mark.parametrize("verb", ["stylize", "pack"])
def test_styles_and_blends_that_can_not_be(
    nstc, pack: Path, photo: Path, verb: str, flags: list[str], told: str
) -> None:
    output = photo.with_name("out.png")
    words = [photo, "-m", pack] if verb == "stylize" else ["extract", pack]
    done = nstc(verb, *words, *flags, "-o", output)
    assert done.code == 3
    assert told in done.error
    assert len(done.err.splitlines()) == 1
    assert not output.exists()


def test_a_style_of_what_is_no_pack(nstc, members: Members, photo: Path) -> None:
    output = photo.with_name("out.png")
    done = nstc("stylize", photo, "-m", members[0].path, "--style", "day", "-o", output)
    assert done.code == 3
    assert "is not a pack of styles: it has one style" in done.error


def test_extract_asks_for_a_style(nstc, pack: Path, tmp_path: Path) -> None:
    done = nstc("pack", "extract", pack, "-o", tmp_path / "x.onnx")
    assert done.code == 3
    assert "no style is given: give --style or --blend, of day, night" in done.error


def test_join_says_what_differs_and_writes_nothing(
    nstc, members: Members, stranger: Bundle, tmp_path: Path
) -> None:
    done = nstc("pack", "join", members[0].path, stranger.path, "-o", tmp_path / "styles")
    assert done.code == 3
    assert "can't share a pack: the integers of" in done.error
    assert not (tmp_path / "styles").exists()


def test_verify_checks_each_style(nstc, pack: Path) -> None:
    done = nstc("verify", pack)
    assert done.code == 0
    assert "day: model.int8.onnx" in done.out
    assert "night: model.int8.tiles.onnx" in done.out


@pytest.mark.parametrize(
    "verb",
    [
        ("bench",),
        ("check", "--baseline", zoo_folder() / "baseline.json"),
        ("bench", "zoo:starry-night", "--against"),
    ],
)
def test_a_pack_is_measured_by_the_file_of_one_style(nstc, pack: Path, verb) -> None:
    done = nstc(*verb, pack)
    assert done.code == OptionError.exit_code
    assert done.err.count("\n") == 1
    assert f"with nstc pack extract {pack} --style NAME -o FILE.onnx, and give that." in done.err


class TestInTheZoo:
    """A pack that ships, by its zoo name."""

    @pytest.fixture(autouse=True)
    def _own_zoo(self, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(pack, tmp_path / "zoo" / "seasons" / "pack")
        monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "zoo")

    @pytest.mark.parametrize("has_models", [True, False])
    def test_it_runs_in_each_style_on_a_device_too(
        self,
        nstc,
        pack: Path,
        photo: Path,
        pixels: np.ndarray,
        monkeypatch: pytest.MonkeyPatch,
        has_models: bool,
    ) -> None:
        monkeypatch.setattr(distributions, "has_models", lambda: has_models)
        output = photo.with_name("out.png")
        done = nstc("stylize", photo, "-m", "zoo:seasons", "--style", "night", "-o", output)
        assert done.code == 0, done.err
        expected = Stylizer(pack, style="night")(pixels)
        np.testing.assert_array_equal(read_picture(output).rgb, expected)
        verified = nstc("verify", "zoo:seasons")
        assert verified.code == 0, verified.err
        assert "night: model.int8.onnx" in verified.out

    def test_is_listed_with_its_styles(self, nstc) -> None:
        done = nstc("models")
        assert done.code == 0, done.err
        (row,) = (line for line in done.out.splitlines() if line.startswith("zoo:seasons "))
        assert row.split()[1:4] == ["quantized", "2", "styles"]
        assert "zoo:seasons: a pack; --style takes day, night\n" in done.out
        (entry,) = json.loads(nstc("models", "--json").out)
        assert (entry["name"], entry["styles"]) == ("zoo:seasons", ["day", "night"])

    def test_is_measured_by_the_file_of_one_style(self, nstc, tmp_path: Path) -> None:
        done = nstc("bench", "zoo:seasons")
        assert done.code == OptionError.exit_code
        assert "with nstc pack extract zoo:seasons --style NAME -o FILE.onnx" in done.error
        file = tmp_path / "night.onnx"
        assert nstc("pack", "extract", "zoo:seasons", "--style", "night", "-o", file).code == 0

    def test_is_sent_to_a_hub_as_any_model(self, nstc) -> None:
        done = nstc("push", "zoo:seasons", "hf:me/seasons", "--dry-run", "--json")
        assert done.code == 0, done.err
        sent = json.loads(done.out)
        assert sent["license"] == "apache-2.0"
        assert sent["files"].keys() >= {"styles.json", "style-night.safetensors", "checks.json"}

    def test_other_roles_of_its_name_are_none(self, nstc, photo: Path) -> None:
        done = nstc("stylize", photo, "-m", "zoo:seasons/fast", "-o", photo.with_name("out.png"))
        assert "no zoo:seasons/fast in the zoo; there is zoo:seasons." in done.error
