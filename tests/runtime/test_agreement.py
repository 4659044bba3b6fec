"""Which file of a bundle another one must agree with, and what is no agreement."""

import dataclasses

import numpy as np
import pytest

from nstc.core.errors import ExportMismatchError
from nstc.core.manifest import Step
from nstc.runtime.agreement import SIZES, CheckPictures, counterpart_of, is_integer

HELD = ("int8.onnx", "onnx", "ts")


class Stylised:
    """A session that is a function of pictures."""

    def __init__(self, run, fixed_size=None) -> None:
        self.run = run
        self.fixed_size = fixed_size


def negative(rgb):
    return 255 - rgb


def displaced(rgb):
    """The negative, a pixel further down unless both sides are multiples of 4."""
    odd = any(side % 4 for side in rgb.shape[:2])
    return np.roll(negative(rgb), int(odd), axis=0)


def agreement(bundle, artifact, runs, network=None):
    sessions = {name: Stylised(run) for name, run in runs.items()}
    return CheckPictures(bundle, sessions).agreement(artifact, network)


@pytest.mark.parametrize(
    ("artifact", "held", "expected"),
    [
        ("int8.tiles.onnx", HELD, "int8.onnx"),
        ("int8.512x512.onnx", HELD, "int8.onnx"),
        ("int8.ort", HELD, "int8.onnx"),
        ("int8.tiles.onnx", ("onnx",), "onnx"),
        ("int8.onnx", HELD, "onnx"),
        ("int8.pte", HELD, "onnx"),
        ("ts", HELD, "onnx"),
        ("512x512.onnx", HELD, "onnx"),
        ("weights-int4.onnx", HELD, "onnx"),
        ("onnx", HELD, None),
        ("int8.onnx", ("int8.onnx",), None),
    ],
)
def test_a_file_is_held_to_what_it_was_made_of(artifact, held, expected) -> None:
    assert counterpart_of(artifact, held) == expected


def test_sizes_have_every_remainder_by_four() -> None:
    assert {side % 4 for size in SIZES for side in size} == {0, 1, 2, 3}


def test_a_file_that_goes_wrong_at_some_sizes_only_is_found(bundle) -> None:
    right = {"int8.onnx": negative, "int8.tiles.onnx": negative}
    assert agreement(bundle, "int8.tiles.onnx", right) == "as model.int8.onnx, bit for bit"
    with pytest.raises(ExportMismatchError, match=r"than model\.int8\.onnx at 45x59"):
        agreement(bundle, "int8.tiles.onnx", right | {"int8.tiles.onnx": displaced})


def test_a_file_that_makes_pictures_of_another_size_agrees_with_none(bundle) -> None:
    runs = {"onnx": negative, "pte": lambda rgb: negative(rgb)[: len(rgb) // 32 * 32]}
    with pytest.raises(ExportMismatchError, match=r"model\.pte makes .* of 32x59 of one of 45x59"):
        agreement(bundle, "pte", runs)


def test_integers_agree_to_the_last_bit_and_floats_to_a_level(bundle) -> None:
    def one_level_off(rgb):
        return np.where(rgb < 255, 254 - rgb, 0).astype(np.uint8)

    runs = {"int8.onnx": negative, "int8.tiles.onnx": one_level_off, "onnx": negative}
    with pytest.raises(ExportMismatchError, match="worst value by 1/255"):
        agreement(bundle, "int8.tiles.onnx", runs)
    runs["ts"] = one_level_off
    assert agreement(bundle, "ts", runs) == "as model.onnx, at most 1/255 off"
    runs["ts"] = lambda rgb: np.where(rgb < 254, 253 - rgb, 0).astype(np.uint8)
    with pytest.raises(ExportMismatchError, match=r"model\.ts gives another"):
        agreement(bundle, "ts", runs)
    runs["int8.onnx"] = runs["ts"]
    assert "but for rounding, 42 dB apart" in (agreement(bundle, "int8.onnx", runs) or "")
    runs["int8.onnx"] = lambda rgb: rgb
    with pytest.raises(ExportMismatchError, match=r"model\.int8\.onnx gives another"):
        agreement(bundle, "int8.onnx", runs)


def test_a_file_without_a_counterpart_is_held_to_the_network(bundle) -> None:
    runs = {"onnx": displaced}
    assert agreement(bundle, "onnx", runs) is None
    assert (
        agreement(bundle, "onnx", runs, displaced) == "as the network of its weights, bit for bit"
    )
    with pytest.raises(ExportMismatchError, match="than the network of its weights"):
        agreement(bundle, "onnx", runs, negative)


def test_a_file_of_one_size_is_compared_at_that_size(bundle) -> None:
    fixed = Stylised(displaced, fixed_size=(64, 64))
    pictures = CheckPictures(bundle, {"int8.onnx": Stylised(negative), "int8.64x64.onnx": fixed})
    assert pictures.sizes("int8.64x64.onnx") == ((64, 64),)
    assert pictures.agreement("int8.64x64.onnx") == "as model.int8.onnx, bit for bit"


def test_what_computes_in_float_on_the_way_is_not_integer(bundle) -> None:
    assert is_integer(bundle, "int8.tiles.onnx")
    assert not is_integer(bundle, "onnx")
    assert not is_integer(bundle, "int8.pte")
    manifest = bundle.manifest
    left = Step(verb="quantize", recipe={}, results={"artifact": "int8.onnx", "islands": ["a"]})
    other = Step(verb="quantize", recipe={}, results={"artifact": "fp16.onnx", "islands": []})
    history = (*manifest.history, left, other)
    changed = dataclasses.replace(bundle, manifest=dataclasses.replace(manifest, history=history))
    assert not is_integer(changed, "int8.onnx")
    contract = dataclasses.replace(manifest.contract, locality="global")
    changed = dataclasses.replace(bundle, manifest=dataclasses.replace(manifest, contract=contract))
    assert not is_integer(changed, "int8.onnx")
