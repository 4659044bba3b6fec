"""`Stylizer` of a pack: its styles, and changing between them."""

import gc
import pickle
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nstc.core import decoding
from nstc.core.bundle import TILES_ARTIFACT, Bundle
from nstc.core.errors import ArtifactError, CorruptBundleError, ImageError, OptionError
from nstc.runtime.arrays import check_picture
from nstc.runtime.packs.style_pack import Pack
from nstc.runtime.session import Session, open_session
from nstc.runtime.stylizer import Stylizer

PICTURE = check_picture(0, 64, 96)
Members = tuple[Bundle, Bundle]


@pytest.fixture(scope="module")
def alone(members: Members) -> list[np.ndarray]:
    """The pictures of the two styles' own bundles."""
    return [Stylizer(each, threads=1)(PICTURE) for each in members]


def test_a_style_gives_the_picture_of_its_bundle(
    shared_pack: Pack, alone: list[np.ndarray]
) -> None:
    for style, expected in zip(shared_pack.names, alone, strict=True):
        made = Stylizer(shared_pack.bundle.path, style=style, threads=1)(PICTURE)
        np.testing.assert_array_equal(made, expected)


def test_the_first_style_runs_unless_another_is_chosen(
    shared_pack: Pack, alone: list[np.ndarray]
) -> None:
    made = Stylizer(shared_pack.bundle, threads=1)(PICTURE)
    np.testing.assert_array_equal(made, alone[0])


def test_a_style_that_was_used_is_used_again_without_opening_it(
    shared_pack: Pack, alone: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stylizer = Stylizer(shared_pack.bundle, style="day", threads=1)
    first = stylizer.session
    stylizer.use("night")
    np.testing.assert_array_equal(stylizer(PICTURE), alone[1])
    identity = stylizer.identity

    def unexpected(*_: Any, **__: Any) -> Iterator[None]:
        raise AssertionError("opened again")

    monkeypatch.setattr("nstc.runtime.stylizer.open_session", unexpected)
    monkeypatch.setattr(Pack, "as_bundle", unexpected)
    stylizer.use("day")
    assert stylizer.session is first
    np.testing.assert_array_equal(stylizer(PICTURE), alone[0])
    assert stylizer.identity != identity
    stylizer.use("night")
    assert stylizer.identity == identity


def test_a_pack_that_is_open_is_not_opened_again(
    shared_pack: Pack, alone: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stylizer = Stylizer(shared_pack, style="day", threads=1)
    expected = shared_pack.bundle.path.absolute()
    assert pickle.loads(pickle.dumps(stylizer))._given.path == expected  # noqa: S301

    read, names = decoding.read_file, []

    def counted(path: Path, *limit: int, **options: bool) -> bytes:
        names.append(path.name)
        return read(path, *limit, **options)

    monkeypatch.setattr(decoding, "read_file", counted)
    stylizer.use("night")
    assert "styles.json" not in names
    np.testing.assert_array_equal(stylizer(PICTURE), alone[1])


def test_a_style_that_is_open_is_changed_to_within_a_millisecond(shared_pack: Pack) -> None:
    stylizer = Stylizer(shared_pack.bundle, style="day", threads=1)
    stylizer.use("night")
    began = time.process_time()
    for _ in range(50):
        stylizer.use("day")
        stylizer.use("night")
    assert (time.process_time() - began) / 100 < 1e-3


def test_eight_styles_stay_open_and_the_least_recent_is_closed(
    shared_pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[weakref.ref[Session]] = []

    def counted(*given: Any, **options: Any) -> Session:
        session = open_session(*given, **options)
        opened.append(weakref.ref(session))
        return session

    monkeypatch.setattr("nstc.runtime.stylizer.open_session", counted)
    monkeypatch.setattr("nstc.runtime.session.ensure_tried", lambda *_, **__: None)
    mixtures = [{"day": number / 10, "night": 1 - number / 10} for number in range(1, 9)]
    stylizer = Stylizer(shared_pack.bundle, style="day", threads=1)
    for mixture in mixtures[:-1]:
        stylizer.use(mixture)
    stylizer.use("day")  # the first that was opened is not the least recent
    stylizer.use(mixtures[-1])
    gc.collect()
    assert [own() is None for own in opened] == [False, True, *[False] * 7]
    for style in ("day", *mixtures[1:]):
        stylizer.use(style)
    assert len(opened) == 9
    stylizer.use(mixtures[0])
    assert len(opened) == 10


def test_a_blend_is_of_both(shared_pack: Pack, alone: list[np.ndarray]) -> None:
    mixed = Stylizer(shared_pack.bundle, style={"day": 0.5, "night": 0.5}, threads=1)(PICTURE)
    day, night = (np.abs(mixed.astype(int) - each).mean() for each in alone)
    assert day == pytest.approx(night, rel=0.3)


def test_weights_of_another_sum_are_said(shared_pack: Pack) -> None:
    stylizer = Stylizer(shared_pack.bundle, threads=1)
    with pytest.warns(UserWarning, match="the weights of the blend add up to 2, not to 1"):
        stylizer.use({"day": 1, "night": 1})


def test_errors_of_an_open_style_name_the_pack_and_the_style(
    shared_pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stylizer = Stylizer(shared_pack.bundle, style="night", threads=1)
    broken = SimpleNamespace(run=lambda *_: [np.zeros((1, 2, 2, 3), np.uint8)])
    monkeypatch.setattr(stylizer.session, "_session", broken)
    with pytest.raises(CorruptBundleError) as raised:
        stylizer(PICTURE)
    file = f"{shared_pack.bundle.path} (night)/model.int8.onnx"
    assert str(raised.value).startswith(f"{file} is not a style network: for [1, 64, 96, 3] it")
    in_tiles = Stylizer(shared_pack.bundle, style="night", threads=1, max_ram_bytes=10**10)
    monkeypatch.setattr(in_tiles.session, "_session", broken)
    with pytest.raises(CorruptBundleError) as raised:
        in_tiles(PICTURE)
    assert str(raised.value).startswith(f"{shared_pack.bundle.path} (night)/model.{TILES_ARTIFACT}")


def test_a_picture_that_a_style_fails_on_names_the_pack_and_the_style(
    shared_pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no memory\nat all")

    stylizer = Stylizer(shared_pack.bundle, style={"day": 0.5, "night": 0.5}, threads=1)
    monkeypatch.setattr(stylizer.session, "_session", SimpleNamespace(run=fails))
    file = f"{shared_pack.bundle.path} (day=0.5,night=0.5)/model.int8.onnx"
    with pytest.raises(ImageError) as raised:
        stylizer(PICTURE)
    assert str(raised.value).startswith(f"{file} failed on a picture of shape 1x64x96x3")


def test_what_is_refused_leaves_the_style_as_it_was(
    shared_pack: Pack, alone: list[np.ndarray]
) -> None:
    stylizer = Stylizer(shared_pack.bundle, style="night", threads=1)
    with pytest.raises(OptionError, match="has no style dusk"):
        stylizer.use("dusk")
    with pytest.raises(OptionError, match="a weight of -1"):
        stylizer.use({"day": -1, "night": 2})
    np.testing.assert_array_equal(stylizer(PICTURE), alone[1])


def test_a_copy_has_the_style_that_is_used(shared_pack: Pack, alone: list[np.ndarray]) -> None:
    stylizer = Stylizer(shared_pack.bundle, style="day", threads=1)
    stylizer.use("night")
    copy = pickle.loads(pickle.dumps(stylizer))  # noqa: S301  (pickled just now)
    np.testing.assert_array_equal(copy(PICTURE), alone[1])


def test_a_limit_of_memory_runs_the_styles_file_for_tiles(
    shared_pack: Pack, alone: list[np.ndarray]
) -> None:
    stylizer = Stylizer(shared_pack.bundle, style="night", threads=1, max_ram_bytes=10**10)
    assert stylizer.session.artifact == TILES_ARTIFACT
    np.testing.assert_array_equal(stylizer(PICTURE), alone[1])
    stylizer.use("day")
    np.testing.assert_array_equal(stylizer(PICTURE), alone[0])


@pytest.mark.parametrize("style", [None, "night"])
def test_files_that_a_pack_does_not_have(shared_pack: Pack, style: str | None) -> None:
    with pytest.raises(ArtifactError, match="Make it for each of the bundles that were joined"):
        Stylizer(shared_pack.bundle, style=style, precision="float")


def test_a_bundle_of_one_style_has_none_to_choose(members: Members) -> None:
    with pytest.raises(OptionError, match="is not a pack of styles: it has one style"):
        Stylizer(members[0], style="day")
