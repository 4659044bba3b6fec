"""Packs as somebody else may have written them, and blends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nstc.core import files
from nstc.core.bundle import TILES_ARTIFACT, Bundle, open_bundle, revised_bundle
from nstc.core.errors import CorruptBundleError, NstcError, OptionError, SchemaVersionError
from nstc.core.tensor_files import read_tensors, tensor_bytes
from nstc.runtime.arrays import (
    channel_statistics,
    check_picture,
    stylize_in_place,
    tiling_of,
)
from nstc.runtime.foreign import trial
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.packs import style_pack
from nstc.runtime.packs.blending import Blend
from nstc.runtime.packs.style_pack import INT8, STYLES_FILE, Pack, open_pack
from nstc.runtime.verification import record, verify

Copy = Callable[[], Bundle]
NIGHT = "style-night.safetensors"


def rewritten(bundle: Bundle, name: str, content: bytes | None) -> Bundle:
    """The bundle with a file changed or removed, and sealed anew as its maker would."""
    with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
        (draft / name).unlink()
        if content is not None:
            (draft / name).write_bytes(content)
    return open_bundle(bundle.path)


class TestBlends:
    def test_lie_between_their_styles(self, shared_pack: Pack, tmp_path: Path) -> None:
        def picture(shares: dict[str, float]) -> np.ndarray:
            with shared_pack.as_bundle(Blend.of(shares)) as made:
                session = OnnxSession(made.artifact(INT8), INT8, 1)
            return session.run(check_picture(0, 64, 96)).astype(np.int16)

        day, night = picture({"day": 1}), picture({"night": 1})
        apart = np.abs(day - night).mean()
        assert apart > 5
        for share in (0.25, 0.5, 0.75):
            mixed = picture({"day": share, "night": 1 - share})
            assert np.abs(mixed - day).mean() == pytest.approx((1 - share) * apart, rel=0.3)
            assert np.abs(mixed - night).mean() == pytest.approx(share * apart, rel=0.3)

    def test_of_almost_one_style_give_almost_its_file(self, shared_pack: Pack) -> None:
        mixed = shared_pack.files(Blend.of({"day": 1, "night": 1e-12}))
        assert mixed == shared_pack.files(Blend.of("day"))

    def test_are_cut_into_tiles_exactly(self, shared_pack: Pack) -> None:
        picture = np.ascontiguousarray(np.tile(check_picture(0, 150, 131), (2, 3, 1)))
        with shared_pack.as_bundle(Blend.of({"day": 0.3, "night": 0.7})) as made:
            assert made.artifacts == (INT8, TILES_ARTIFACT)
            whole = OnnxSession(made.artifact(INT8), INT8, 1).run(picture)
            tiles = OnnxSession(made.artifact(TILES_ARTIFACT), TILES_ARTIFACT, 1)
        statistics = channel_statistics(picture[:: tiles.statistics_rows])
        tiling = tiling_of(*picture.shape[:2], (128, 128), made.manifest.contract)
        assert tiling.count > 4
        stylize_in_place(picture, tiling, lambda tile: tiles.run_tile(tile, statistics))
        np.testing.assert_array_equal(picture, whole)

    def test_of_an_unknown_style(self, shared_pack: Pack) -> None:
        unknown = Blend.of({"day": 0.5, "dusk": 0.5})
        with (
            pytest.raises(OptionError, match=r"has no style dusk: it has day, night"),
            shared_pack.as_bundle(unknown),
        ):
            pass


class TestInStrength:
    def test_is_a_blend_with_the_photograph(self, pack_of_strengths: Pack) -> None:
        pack = pack_of_strengths
        assert pack.photograph == "photograph"
        for style, strength, shares in [
            ("night", 0.25, {"night": 0.25, "photograph": 0.75}),
            ({"day": 3, "night": 1}, 0.8, {"day": 0.6, "night": 0.2, "photograph": 0.2}),
            ({"day": 1, "photograph": 1}, 0.5, {"day": 0.25, "photograph": 0.75}),
            ("photograph", 0.5, {"photograph": 1}),
            (None, 0.5, {"day": 0.5, "photograph": 0.5}),
        ]:
            mixed = pack.in_strength(None if style is None else Blend.of(style), strength)
            assert mixed is not None
            assert mixed.shares == pytest.approx(shares)
            assert mixed.warning is None

    @pytest.mark.parametrize("strength", [-0.5, 0, 1, 1.5])
    def test_neither_end_nor_what_is_beyond_needs_one(
        self, pack_of_strengths: Pack, strength: float
    ) -> None:
        assert pack_of_strengths.in_strength(None, strength) is None

    def test_a_pack_without_a_photograph_has_none(self, shared_pack: Pack) -> None:
        assert shared_pack.photograph is None
        assert shared_pack.in_strength(Blend.of("day"), 0.5) is None


class TestAsBundle:
    def test_a_styles_files_go_after_it_was_opened(self, shared_pack: Pack) -> None:
        with shared_pack.as_bundle(Blend.of("night")) as made:
            assert made.artifact(INT8).read_bytes() == shared_pack.files(Blend.of("night"))[INT8]
        assert not made.path.exists()
        kept = [path for path in files.cache_folder("").rglob("*") if "style" in path.name]
        assert kept == []

    def test_errors_name_the_pack_and_the_style(self, shared_pack: Pack) -> None:
        with (
            pytest.raises(CorruptBundleError) as raised,
            shared_pack.as_bundle(Blend.of("night")) as made,
        ):
            raise CorruptBundleError(f"{made.path / 'model.int8.onnx'} is damaged.")
        expected = f"{shared_pack.bundle.path} (night)/model.int8.onnx is damaged."
        assert str(raised.value) == expected


@pytest.mark.parametrize("included", [True, False])
def test_files_of_an_included_pack_are_opened_untried(
    copy_of_pack: Copy, monkeypatch: pytest.MonkeyPatch, included: bool
) -> None:
    pack = open_pack(copy_of_pack())
    zoo_name = "zoo:styles" if included else None
    monkeypatch.setattr(style_pack, "zoo_name_of", lambda _path: zoo_name)
    monkeypatch.setattr(trial, "_made", set())
    with pack.as_bundle(Blend.of({"day": 0.5, "night": 0.5})) as made:
        for artifact in made.artifacts:
            sha256 = made.manifest.files[f"model.{artifact}"].sha256
            assert trial.is_ours(sha256) is included


class TestHostile:
    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda styles: styles.append(styles[0]), "two styles are called day"),
            (lambda styles: styles[1].update(name="Day"), "two styles are called"),
            (lambda styles: styles[1].update(name="../day"), "it has a separator"),
            (lambda styles: styles[1].update(name="dusk"), "the pack lacks style-dusk"),
            (lambda styles: styles[1].update(more=1), "is not a key that this nstc knows"),
            (lambda styles: styles[1]["files"].pop(INT8), "its styles have different files"),
            (lambda styles: styles[1]["files"].update({INT8: "x" * 64}), "is not a SHA-256"),
            (lambda styles: styles.clear(), "styles is"),
            (lambda styles: styles[1].update(photograph="yes"), "photograph is"),
            (
                lambda styles: [own.update(photograph=True) for own in styles],
                "two styles give the photograph",
            ),
        ],
    )
    def test_styles_that_can_not_be(
        self, copy_of_pack: Copy, change: Callable[[list[Any]], object], told: str
    ) -> None:
        bundle = copy_of_pack()
        content = json.loads((bundle.path / STYLES_FILE).read_text())
        change(content["styles"])
        bundle = rewritten(bundle, STYLES_FILE, json.dumps(content).encode())
        with pytest.raises(CorruptBundleError, match=told):
            open_pack(bundle)

    def test_a_newer_schema(self, copy_of_pack: Copy) -> None:
        bundle = copy_of_pack()
        text = (bundle.path / STYLES_FILE).read_text().replace("styles/1", "styles/2")
        bundle = rewritten(bundle, STYLES_FILE, text.encode())
        with pytest.raises(SchemaVersionError, match=r"nstc\.styles/2, expected nstc\.styles/1"):
            open_pack(bundle)

    def test_a_graph_that_is_not_the_first_styles(self, copy_of_pack: Copy) -> None:
        pack = open_pack(copy_of_pack())
        night = pack.files(Blend.of("night"))[INT8]
        bundle = rewritten(pack.bundle, f"model.{INT8}", night)
        with pytest.raises(CorruptBundleError, match="is not the file of the first style, day"):
            open_pack(bundle)

    def test_a_style_whose_table_is_missing(self, copy_of_pack: Copy) -> None:
        bundle = rewritten(copy_of_pack(), NIGHT, None)
        with pytest.raises(CorruptBundleError, match=f"the pack lacks {NIGHT}"):
            open_pack(bundle)

    def test_a_table_that_gives_another_file(self, copy_of_pack: Copy) -> None:
        bundle = copy_of_pack()
        bundle = rewritten(bundle, NIGHT, bundle.file("style-day.safetensors").read_bytes())
        pack = open_pack(bundle)
        assert pack.files(Blend.of("day"))
        for blend in ("night", {"day": 0.9, "night": 0.1}):
            told = f"{NIGHT} is damaged: it does not give .* Copy the pack again"
            with pytest.raises(CorruptBundleError, match=told):
                pack.files(Blend.of(blend))

    @pytest.mark.parametrize(
        ("name", "values", "told"),
        [
            ("other", np.zeros(1, np.float32), "nothing that a style has of its own"),
            ("edge/out/constant_0", np.zeros(2, np.int32), "nothing that a style has of its own"),
            (None, np.zeros(1, np.float32), "of another type or shape"),
        ],
    )
    def test_a_table_of_constants_that_no_style_has(
        self, copy_of_pack: Copy, name: str | None, values: np.ndarray, told: str
    ) -> None:
        bundle = copy_of_pack()
        table = read_tensors(bundle.file(NIGHT))
        table[name or next(key for key, own in table.items() if own.ndim == 1)] = values
        pack = open_pack(rewritten(bundle, NIGHT, tensor_bytes(table)))
        with pytest.raises(CorruptBundleError, match=told):
            pack.files(Blend.of("night"))

    @pytest.mark.parametrize("name", [NIGHT, STYLES_FILE, f"model.{INT8}"])
    def test_bytes_that_are_none_of_it(self, copy_of_pack: Copy, name: str) -> None:
        bundle = rewritten(copy_of_pack(), name, b"\xff" * 100)
        with pytest.raises(NstcError, match="is damaged"):
            open_pack(bundle).files(Blend.of("night"))


class TestVerified:
    def test_every_file_of_every_style(self, shared_pack: Pack) -> None:
        found = verify(shared_pack.bundle.path)
        assert found.errors == ()
        told = {(own.file, own.check): own.detail for own in found.findings}
        for style in shared_pack.names:
            for artifact in (INT8, TILES_ARTIFACT):
                vector = told[f"{style}: model.{artifact}", "picture"]
                assert vector == "as its check vector, bit for bit"
            same = told[f"{style}: model.{TILES_ARTIFACT}", "agreement"]
            assert same == f"as model.{INT8}, bit for bit"

    def test_one_style_that_is_damaged(self, copy_of_pack: Copy) -> None:
        bundle = copy_of_pack()
        day = bundle.file("style-day.safetensors").read_bytes()
        found = verify(rewritten(bundle, NIGHT, day).path)
        (error,) = found.errors
        assert NIGHT in str(error)
        assert f"day: model.{INT8}" in {own.file for own in found.findings}

    def test_a_style_without_check_vectors_was_not_checked(self, copy_of_pack: Copy) -> None:
        bundle = copy_of_pack()
        content = json.loads((bundle.path / "checks.json").read_text())
        del content["vectors"][f"night/{INT8}"]
        found = verify(rewritten(bundle, "checks.json", json.dumps(content).encode()).path)
        (error,) = found.errors
        assert str(error).startswith(f"{bundle.path} has no check vector of night/{INT8}:")

    def test_a_style_of_another_picture_than_its_vector(self, copy_of_pack: Copy) -> None:
        bundle = copy_of_pack()
        content = json.loads((bundle.path / "checks.json").read_text())
        vectors = content["vectors"]
        for key in ("values", "painted_sha256"):
            vectors[f"night/{INT8}"][key] = vectors[f"day/{INT8}"][key]
        found = verify(rewritten(bundle, "checks.json", json.dumps(content).encode()).path)
        (error,) = found.errors
        where = f"{bundle.path} (night)/model.{INT8}"
        assert str(error).startswith(f"{where} gives another picture here than where it was made")

    def test_vectors_are_written_by_joining_alone(self, copy_of_pack: Copy) -> None:
        with pytest.raises(OptionError, match="is a pack, whose check vectors are written when"):
            record(copy_of_pack().path)
