import copy
import inspect
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from nstc.core import zoo
from nstc.core.bundle import revised_bundle
from nstc.core.errors import (
    ArtifactError,
    BundleError,
    CorruptBundleError,
    ImageError,
    OptionError,
    UnusableModelError,
)
from nstc.core.images import read_picture
from nstc.core.remote import hub
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.stylizer import Stylizer


@pytest.fixture
def stylizer(bundle) -> Stylizer:
    return Stylizer(bundle, threads=1)


def test_an_array_gives_an_array(stylizer, pixels) -> None:
    np.testing.assert_array_equal(stylizer(pixels), 255 - pixels)


def test_an_image_gives_an_image(stylizer, pixels) -> None:
    painted = stylizer(Image.fromarray(pixels))
    assert painted.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_gives_an_image(stylizer, save_picture, pixels, kind) -> None:
    painted = stylizer(kind(save_picture(pixels)))
    np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)


def test_alpha_is_kept_and_not_painted(stylizer, pixels) -> None:
    alpha = np.arange(37 * 53, dtype=np.uint32).reshape(37, 53).astype(np.uint8)
    painted = stylizer(Image.fromarray(np.dstack([pixels, alpha])))
    assert painted.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(painted), np.dstack([255 - pixels, alpha]))


def test_a_grey_image_is_painted_in_colour(stylizer) -> None:
    painted = stylizer(Image.new("L", (4, 2), 40))
    assert (painted.mode, painted.getpixel((0, 0))) == ("RGB", (215, 215, 215))


@pytest.mark.parametrize("size", [(1, 1), (5000, 40)])
def test_the_smallest_and_the_longest(stylizer, size) -> None:
    assert stylizer(Image.new("RGB", size)).size == size


def test_the_default_model_is_the_shipped_student(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path)
    with pytest.raises(BundleError, match="no zoo:starry-night in the zoo"):
        Stylizer()


def test_an_array_with_alpha_keeps_it(stylizer, pixels) -> None:
    alpha = np.full((37, 53, 1), 77, np.uint8)
    painted = stylizer(np.dstack([pixels, alpha]))
    np.testing.assert_array_equal(painted, np.dstack([255 - pixels, alpha]))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (0, 4, 3), (4, 4, 5)])
def test_an_array_that_is_no_picture(stylizer, shape) -> None:
    with pytest.raises(ImageError, match=r"must be \(H, W, 3\) uint8"):
        stylizer(np.zeros(shape, np.uint8))


def test_a_strength_mixes_the_style_with_the_photograph(stylizer, pixels) -> None:
    np.testing.assert_array_equal(stylizer(pixels, strength=0), pixels)
    halfway = stylizer(pixels, strength=0.5)
    assert set(np.unique(halfway)) <= {127, 128}  # between x and 255 - x


def test_colours_are_kept_on_request(stylizer) -> None:
    painted = stylizer(np.full((2, 2, 3), (150, 100, 100), np.uint8), preserve_color=True)
    red, green, blue = (int(value) for value in painted[0, 0])
    assert green == blue
    assert (red - green, green) == (50, 125)  # brighter by 25, from 115 to 140


def test_a_size_and_back(stylizer, pixels) -> None:
    assert stylizer(pixels, size=106).shape == (74, 106, 3)
    assert stylizer(pixels, size=106, upscale_to_original=True).shape == pixels.shape


def test_alpha_follows_the_size(stylizer) -> None:
    painted = stylizer(Image.new("RGBA", (40, 20), (1, 2, 3, 77)), size=20)
    assert (painted.mode, painted.size, painted.getpixel((3, 3))[3]) == ("RGBA", (20, 10), 77)


def test_extrapolation_warns(stylizer, pixels) -> None:
    with pytest.warns(UserWarning, match="strength is 1.5, outside of 0 to 1"):
        stylizer(pixels, strength=1.5)


def test_a_jpeg_by_its_path(stylizer, save_picture, pixels) -> None:
    path = save_picture(pixels, "a.jpg", quality=95)
    np.testing.assert_array_equal(np.asarray(stylizer(str(path))), 255 - read_picture(path).rgb)


class TestElsewhere:
    """Copies, and those that are sent to other processes."""

    @pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])  # noqa: S301  (pickled just now)
    def test_it_is_opened_again_with_its_options(self, make_bundle, tmp_path, pixels, again):
        path = make_bundle(tmp_path / "b", artifacts=["float"]).path
        first = Stylizer(path, precision="float", threads=1)
        second = again(first)
        assert second.session is not first.session
        assert second.session.artifact == "onnx"
        assert second.__reduce__()[0].keywords == first.__reduce__()[0].keywords
        np.testing.assert_array_equal(second(pixels), 255 - pixels)

    def test_an_opened_bundle_and_a_relative_path_are_found_from_anywhere(
        self, bundle, monkeypatch, tmp_path, pixels
    ):
        monkeypatch.chdir(bundle.path.parent)
        pickled = [pickle.dumps(Stylizer(each)) for each in (bundle, bundle.path.name)]
        monkeypatch.chdir("/")
        for each in pickled:
            np.testing.assert_array_equal(pickle.loads(each)(pixels), 255 - pixels)  # noqa: S301

    def test_what_an_address_gave_is_opened_from_where_it_is_kept(
        self, bundle, monkeypatch, pixels
    ):
        kept = {"hf:me/night": bundle.path}
        monkeypatch.setattr(hub, "local_path", kept.pop)  # asked for once
        again = pickle.loads(pickle.dumps(Stylizer("hf:me/night")))  # noqa: S301
        np.testing.assert_array_equal(again(pixels), 255 - pixels)

    def test_a_zoo_name_stays_one(self):
        assert b"zoo:starry-night" in pickle.dumps(Stylizer(threads=1))
        assert str(Path.cwd()).encode() not in pickle.dumps(Stylizer(threads=1))

    def test_a_limit_is_kept(self, bundle, pixels):
        first = Stylizer(bundle, precision="float", max_ram_bytes=10**10, approximate_tiles=True)
        second = pickle.loads(pickle.dumps(first))  # noqa: S301
        assert second.bounded is not None
        assert second.bounded.limit_bytes == 10**10
        np.testing.assert_array_equal(second(pixels), 255 - pixels)

    def test_no_option_is_left_behind(self, bundle):
        reopening, _ = Stylizer(bundle).__reduce__()
        named = inspect.signature(Stylizer).parameters
        assert {"model", *reopening.keywords} == set(named)

    def test_a_model_that_is_gone_is_named(self, make_bundle, tmp_path):
        pickled = pickle.dumps(Stylizer(make_bundle(tmp_path / "b")))
        (tmp_path / "b").rename(tmp_path / "c")
        with pytest.raises(BundleError, match="b does not exist"):
            pickle.loads(pickled)  # noqa: S301

    def test_a_spawned_worker_paints_the_same(self, bundle, pixels):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            painted = pool.map(Stylizer(bundle, threads=1), [pixels])
        np.testing.assert_array_equal(painted[0], 255 - pixels)


class TestChoices:
    def test_a_precision_is_short_for_its_artifact(self, make_bundle, tmp_path, pixels) -> None:
        bundle = make_bundle(tmp_path / "b", artifacts=["float"])
        stylizer = Stylizer(bundle, precision="float")
        assert stylizer.session.artifact == "onnx"
        np.testing.assert_array_equal(stylizer(pixels), 255 - pixels)
        with pytest.raises(ArtifactError, match="int8"):
            Stylizer(bundle, precision="int8")

    @pytest.mark.parametrize(
        ("choices", "told"),
        [
            ({"precision": "int4"}, "expected int8 or float"),
            ({"precision": "int8", "artifact": "ts"}, "give one of the two"),
            ({"provider": "gpu"}, "provider is gpu: expected one of .*cpu, cuda"),
            ({"provider": "azure"}, "provider is azure"),
            ({"provider": "cuda", "artifact": "ts"}, "ts is not ONNX"),
            ({"threads": 0}, "threads is 0"),
        ],
    )
    def test_what_can_not_be(self, bundle, choices, told) -> None:
        with pytest.raises(OptionError, match=told):
            Stylizer(bundle, **choices)

    def test_a_graph_that_gives_no_picture_is_no_style_network(
        self, bundle, write_graph, tmp_path, pixels
    ) -> None:
        classes = write_graph(
            tmp_path / "classes.onnx",
            [onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
            output_shape=(1, 3),
        )
        stylizer = Stylizer(bundle)
        stylizer.session = OnnxSession(classes, "onnx")
        with pytest.raises(CorruptBundleError, match=r"classes\.onnx is not a style network"):
            stylizer(pixels)


class TestUnusable:
    """Models that give no picture, in bundles whose hashes are right."""

    @pytest.fixture
    def made(self, make_bundle, tmp_path):
        """A bundle, of which the test replaces a file."""

        def make(write):
            original = make_bundle(tmp_path / "good")
            with revised_bundle(original, tmp_path / "bad", original.manifest) as draft:
                write(draft)
            return tmp_path / "bad"

        return make

    def test_float_output_that_is_not_finite_names_the_file(self, made, linear, pixels) -> None:
        model = made(lambda draft: linear(draft / "model.onnx", float("nan"), 1))
        with pytest.raises(UnusableModelError, match=r"model\.onnx gives no picture: 5883 of its"):
            Stylizer(model, precision="float")(pixels)

    def test_int8_output_of_one_colour_is_refused(self, made, write_graph, pixels) -> None:
        def black(draft):
            write_graph(
                draft / "model.int8.onnx",
                [helper.make_node("Sub", ["x", "x"], ["y"])],
                shape=(1, "H", "W", 3),
                dtype=TensorProto.UINT8,
            )

        with pytest.raises(UnusableModelError, match=r"int8\.onnx .* every pixel is \(0, 0, 0\)"):
            Stylizer(made(black))(pixels)

    def test_a_photograph_of_one_colour_may_give_one(self, stylizer) -> None:
        assert stylizer(np.full((20, 30, 3), 55, np.uint8)).tolist()[0][0] == [200, 200, 200]
