"""The ComfyUI node, loaded and called as ComfyUI does; ComfyUI itself is not needed."""

import importlib.util
import re
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from packed_students import members, shared_pack
from whole_copies import whole_copy

from nstc.core import VERSION
from nstc.core.bundle import Bundle
from nstc.core.errors import BundleError, ImageError, OptionError
from nstc.core.zoo import zoo_students
from nstc.runtime.stylizer import Stylizer

__all__ = ["members", "shared_pack"]  # fixtures

FOLDER = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"


@pytest.fixture(scope="module")
def loaded() -> ModuleType:
    """The folder as ComfyUI loads it: a module named by its path."""
    name = str(FOLDER).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(loaded: ModuleType):
    """Runs the node as ComfyUI does, by its declarations."""
    [node] = loaded.NODE_CLASS_MAPPINGS.values()

    def _run(image: torch.Tensor, model: str = "zoo:udnie", **inputs) -> torch.Tensor:
        with torch.inference_mode():
            made = getattr(node(), node.FUNCTION)(image=image, model=model, **inputs)
        assert len(made) == len(node.RETURN_TYPES)
        return made[0]

    return _run


def batch_of(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)


def bytes_of(image: torch.Tensor) -> np.ndarray:
    assert image.min() >= 0
    assert image.max() <= 1
    return (image * 255).round().to(torch.uint8).numpy()


def test_the_inputs_are_what_the_function_takes(loaded: ModuleType) -> None:
    [node] = loaded.NODE_CLASS_MAPPINGS.values()
    declared = node.INPUT_TYPES()
    assert set(declared) == {"required", "optional"}
    models, _ = declared["required"]["model"]
    assert models == list(zoo_students())
    function = getattr(node, node.FUNCTION)
    names = [*declared["required"], *declared["optional"]]
    taken = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    assert sorted(names) == sorted(taken)
    assert loaded.NODE_DISPLAY_NAME_MAPPINGS.keys() == loaded.NODE_CLASS_MAPPINGS.keys()


def test_a_batch_of_an_odd_size_is_stylised_picture_by_picture(run, pixels) -> None:
    pictures = pixels, pixels[::-1].copy()
    made = run(batch_of(*pictures))
    assert (made.dtype, tuple(made.shape)) == (torch.float32, (2, 37, 53, 3))
    stylizer = Stylizer("zoo:udnie")
    np.testing.assert_array_equal(bytes_of(made), [stylizer(own) for own in pictures])


def test_the_image_that_was_given_stays_as_it_is(run, pixels) -> None:
    image = batch_of(pixels)
    before = image.clone()
    run(image, tile=64)
    assert torch.equal(image, before)


def test_strength_and_colours(run, bundle: Bundle, pixels) -> None:
    image = batch_of(pixels)
    assert torch.equal(run(image, bundle=str(bundle.path), strength=0.0), image)
    made = bytes_of(run(image, bundle=str(bundle.path), strength=0.5, preserve_color=True))
    expected = Stylizer(bundle)(pixels, strength=0.5, preserve_color=True)
    np.testing.assert_array_equal(made[0], expected)


def test_alpha_is_kept(run, bundle: Bundle, pixels) -> None:
    alpha = np.arange(37 * 53).reshape(37, 53, 1).astype(np.uint8)
    made = bytes_of(run(batch_of(np.dstack([pixels, alpha])), bundle=str(bundle.path)))
    np.testing.assert_array_equal(made[0], np.dstack([255 - pixels, alpha]))


def test_values_out_of_range_are_clipped(run, bundle: Bundle) -> None:
    image = torch.full((1, 8, 8, 3), 1.5)
    image[:, :4] = -0.5
    made = bytes_of(run(image, bundle=str(bundle.path)))
    assert (made[0, :4] == 255).all()
    assert (made[0, 4:] == 0).all()


def test_tiles_give_the_same_picture(run) -> None:
    image = torch.rand(1, 150, 210, 3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(run(image, tile=64), run(image))


def test_styles_of_a_pack_and_mixtures(run, shared_pack, pixels) -> None:
    given = {"image": batch_of(pixels), "bundle": str(shared_pack.bundle.path)}
    for typed, style in (
        ("", "day"),
        (" night ", "night"),
        ("day=0.25, night=0.75", {"day": 0.25, "night": 0.75}),
    ):
        expected = Stylizer(shared_pack, style=style, threads=1)(pixels)
        np.testing.assert_array_equal(bytes_of(run(**given, style=typed))[0], expected)
    with pytest.raises(OptionError, match=r"has no style nigth: .*Did you mean night"):
        run(**given, style="nigth")


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 8, 8, 1), (1, 8, 8, 5), (1, 3, 8, 8)])
def test_what_is_no_image(run, shape) -> None:
    with pytest.raises(ImageError, match=re.escape(f"image is a tensor {shape}: expected (batch")):
        run(torch.zeros(shape))


@pytest.mark.parametrize(
    ("inputs", "kind", "message"),
    [
        ({"bundle": "/nowhere/at-all"}, BundleError, "/nowhere/at-all does not exist"),
        ({"model": "zoo:udnia"}, BundleError, "no zoo:udnia in the zoo.*Did you mean zoo:udnie"),
        ({"bundle": "hf:owner/name"}, OptionError, "hf:owner/name: expected a folder"),
        ({"bundle": "https://host/b.zip#sha256=0"}, OptionError, "expected a folder"),
        ({"bundle": r"\\host\share"}, OptionError, r"\\host\\share: expected a folder of this"),
        ({"bundle": " //host/share"}, OptionError, "//host/share: expected a folder of this"),
        ({"bundle": r"/\host\share"}, OptionError, "expected a folder of this machine"),
        ({"bundle": r"\??\UNC\host\share"}, OptionError, "expected a folder of this machine"),
        ({"strength": 4.0}, OptionError, "strength is 4: expected from -1 to 3"),
        ({"tile": 32}, OptionError, "tile is 32: expected from 64"),
        ({"style": "night"}, OptionError, "zoo:udnie is not a pack"),
    ],
)
def test_inputs_that_are_refused(run, inputs, kind, message) -> None:
    with pytest.raises(kind, match=message) as raised:
        run(torch.zeros(1, 8, 8, 3), **inputs)
    assert "\n" not in str(raised.value)


def test_a_bundle_that_was_replaced_is_opened_anew(run, loaded, make_bundle, tmp_path, pixels):
    [node] = loaded.NODE_CLASS_MAPPINGS.values()
    path = tmp_path / "mine"
    make_bundle(path)
    given = {"model": "zoo:udnie", "bundle": str(path)}
    before = node.IS_CHANGED(image=None, strength=1.0, **given)
    assert node.IS_CHANGED(image=None, strength=1.0, **given) == before
    negative = bytes_of(run(batch_of(pixels), **given))
    shutil.rmtree(path)
    whole_copy("zoo:udnie/fast", path)
    assert node.IS_CHANGED(image=None, strength=1.0, **given) != before
    assert (bytes_of(run(batch_of(pixels), **given)) != negative).any()


def test_inputs_that_other_nodes_give_are_unknown_before_they_run(loaded, bundle: Bundle) -> None:
    [node] = loaded.NODE_CLASS_MAPPINGS.values()
    for linked in ({"model": None}, {"model": None, "bundle": " "}, {"model": "", "bundle": None}):
        assert np.isnan(node.IS_CHANGED(image=None, **linked))
    typed = str(bundle.path)
    known = node.IS_CHANGED(image=None, model=None, bundle=typed)
    assert known == node.IS_CHANGED(image=None, model="zoo:udnie", bundle=typed)


def test_the_registry_finds_what_it_asks_for() -> None:
    described = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))
    project = described["project"]
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,98}", project["name"])
    assert "comfyui" not in project["name"].lower()
    assert project["version"] == VERSION.partition(".dev")[0]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["dependencies"] == [f"nstc>={VERSION}"]
    assert {"PublisherId", "DisplayName"} <= described["tool"]["comfy"].keys()
