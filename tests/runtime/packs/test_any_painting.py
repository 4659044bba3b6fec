"""`Stylizer` of a bundle for any painting: what is predicted, kept, and refused."""

import hashlib
import json
import pickle
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from nstc.core import files
from nstc.core.bundle import TILES_ARTIFACT, Bundle, new_bundle, open_bundle
from nstc.core.errors import (
    ArtifactError,
    CorruptBundleError,
    ImageError,
    OptionError,
    SchemaVersionError,
)
from nstc.core.images import read_picture
from nstc.core.photos import PhotoSet
from nstc.core.tensor_files import Values
from nstc.runtime.arrays import check_picture
from nstc.runtime.packs import any_painting
from nstc.runtime.packs.any_painting import LAYERS_FILE, PREDICTOR_FILE, open_for_any, painting_of
from nstc.runtime.packs.style_pack import Pack
from nstc.runtime.stylizer import Stylizer
from nstc.runtime.verification import verify

PICTURE = check_picture(0, 64, 96)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def changed(bundle: Bundle, path: Path, **contents: bytes | None) -> Bundle:
    """A sealed copy in which files, by their names with _ for the dot, are others or missing."""
    with new_bundle(path, bundle.manifest) as draft:
        for name in bundle.manifest.files:
            shutil.copyfile(bundle.path / name, draft / name)
        for name, content in contents.items():
            target = draft / name.replace("_", ".")
            target.unlink()
            if content is not None:
                target.write_bytes(content)
    return open_bundle(path)


class TestStyles:
    def test_a_file_an_image_and_an_array_of_a_painting_give_one_picture(
        self, for_any: Bundle, paintings: PhotoSet
    ) -> None:
        path = paintings.paths[1]
        stylizer = Stylizer(for_any, style=path, threads=1)
        made, session = stylizer(PICTURE), stylizer.session
        for same in (str(path), Image.open(path), read_picture(path).rgb):
            stylizer.use(same)
            assert stylizer.session is session  # it is known by its pixels
        np.testing.assert_array_equal(stylizer(PICTURE), made)
        stylizer.use(paintings.paths[2])
        assert np.any(stylizer(PICTURE) != made)
        assert not np.array_equal(Stylizer(for_any, threads=1)(PICTURE), made)

    def test_the_integer_file_is_near_the_float_file(
        self, for_any: Bundle, paintings: PhotoSet
    ) -> None:
        for path in paintings:
            whole, reference = (
                Stylizer(for_any, style=path, precision=precision, threads=1)(PICTURE)
                for precision in ("int8", "float")
            )
            off = np.abs(whole.astype(int) - reference)
            assert off.mean() < 6, path.name

    def test_a_limit_of_memory_runs_the_file_for_tiles(
        self, for_any: Bundle, paintings: PhotoSet
    ) -> None:
        whole = Stylizer(for_any, style=paintings.paths[1], threads=1)
        cut = Stylizer(for_any, style=paintings.paths[1], threads=1, max_ram_bytes=10**10)
        assert cut.session.artifact == TILES_ARTIFACT
        np.testing.assert_array_equal(cut(PICTURE), whole(PICTURE))

    def test_another_process_opens_the_same_painting_from_any_folder(
        self,
        for_any: Bundle,
        paintings: PhotoSet,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path = paintings.paths[1]
        monkeypatch.chdir(path.parent)
        stylizer = Stylizer(for_any, style=path.name, threads=1)
        used = Stylizer(for_any, threads=1)
        used.use(path.name)
        monkeypatch.chdir(tmp_path)
        for own in (stylizer, used):
            same = pickle.loads(pickle.dumps(own))  # noqa: S301
            assert same.identity == stylizer.identity
        assert Stylizer(for_any, threads=1).identity != stylizer.identity

    def test_a_format_that_no_painting_has(self, for_any: Bundle, paintings: PhotoSet) -> None:
        with pytest.raises(ArtifactError, match=r"only .*int8.* are made for one") as refused:
            Stylizer(for_any, style=paintings.paths[1], artifact="ts")
        assert "join" not in str(refused.value)


class TestCache:
    def test_a_painting_is_predicted_once(
        self, for_any: Bundle, paintings: PhotoSet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        painting = painting_of(paintings.paths[1])
        first = open_for_any(for_any).numbers(painting)

        def unexpected(*_: Any) -> None:
            raise AssertionError("predicted again")

        monkeypatch.setattr(any_painting, "load_graph", unexpected)
        np.testing.assert_array_equal(open_for_any(for_any).numbers(painting), first)
        with pytest.raises(AssertionError):
            open_for_any(for_any).numbers(painting_of(paintings.paths[2]))

    def test_verify_predicts_whatever_is_in_it(
        self, for_any: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert verify(for_any.path).errors == ()
        opened: list[Any] = []
        load = any_painting.load_graph

        def counted(*given: Any) -> Any:
            opened.append(given)
            return load(*given)

        monkeypatch.setattr(any_painting, "load_graph", counted)
        assert verify(for_any.path).errors == ()
        assert len(opened) == 1

    def test_what_is_damaged_in_it_is_predicted_anew(
        self, for_any: Bundle, paintings: PhotoSet
    ) -> None:
        painting = painting_of(paintings.paths[1])
        first = open_for_any(for_any).numbers(painting)
        (kept,) = files.cache_folder("numbers").iterdir()
        kept.write_bytes(b"nothing")
        np.testing.assert_array_equal(open_for_any(for_any).numbers(painting), first)
        assert kept.read_bytes() != b"nothing"


class TestRefusedPaintings:
    def test_a_painting_that_is_none(self, for_any: Bundle, tmp_path: Path) -> None:
        (tmp_path / "words.jpg").write_text("a painting", encoding="utf-8")
        for name in ("words.jpg", "missing.png"):
            with pytest.raises(ImageError, match=name):
                Stylizer(for_any, style=tmp_path / name)
        with pytest.raises(OptionError, match="one colour throughout"):
            Stylizer(for_any, style=np.full((80, 80, 3), 7, np.uint8))
        with pytest.raises(OptionError, match="64 at least"):
            Stylizer(for_any, style=check_picture(0, 20, 30))
        Image.fromarray(check_picture(0, 4, 200)).save(tmp_path / "ribbon.png")
        with pytest.raises(OptionError, match=r"ribbon\.png is too narrow"):
            Stylizer(for_any, style=tmp_path / "ribbon.png")

    def test_a_mixture_is_a_packs(self, for_any: Bundle) -> None:
        with pytest.raises(OptionError, match="for any painting: give one"):
            Stylizer(for_any, style={"day": 0.5, "night": 0.5})

    def test_a_pack_takes_no_painting(self, shared_pack: Pack, paintings: PhotoSet) -> None:
        path = paintings.paths[0]
        pixels = read_picture(path).rgb
        for painting in (path, pixels, Image.fromarray(pixels)):
            with pytest.raises(OptionError, match="takes no painting: give one of day, night"):
                Stylizer(shared_pack, style=painting)

    def test_a_bundle_of_one_style_takes_no_painting(self, paintings: PhotoSet) -> None:
        path = paintings.paths[0]
        pixels = read_picture(path).rgb
        for painting in (path, pixels, Image.fromarray(pixels)):
            with pytest.raises(OptionError, match="is not a pack of styles"):
                Stylizer("zoo:starry-night", style=painting)


class TestDamagedBundles:
    def refused(self, bundle: Bundle, paintings: PhotoSet, match: str) -> None:
        with pytest.raises(CorruptBundleError, match=rf"{match}.*\. Copy the bundle again\.$"):
            Stylizer(bundle, style=paintings.paths[1])

    def layers(self, bundle: Bundle) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((bundle.path / LAYERS_FILE).read_bytes())
        return content

    def test_a_predictor_that_is_no_graph_or_another_one(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        other = (for_any.path / "model.onnx").read_bytes()
        for number, content in enumerate((b"no graph", other)):
            bundle = changed(for_any, tmp_path / str(number), predictor_onnx=content)
            self.refused(bundle, paintings, r"predictor\.onnx is damaged")

    def test_verify_finds_a_predictor_that_does_not_predict(
        self, for_any: Bundle, tmp_path: Path
    ) -> None:
        whole = verify(for_any.path)
        assert [own.state for own in whole.findings if own.file == PREDICTOR_FILE] == ["ok", "ok"]
        content = (for_any.path / "model.onnx").read_bytes()
        bundle = changed(for_any, tmp_path / "other", predictor_onnx=content)
        (error,) = verify(bundle.path).errors
        assert f"{PREDICTOR_FILE} is damaged" in str(error)

    def test_layers_that_the_graph_does_not_have(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        content = self.layers(for_any)
        content["graphs"]["int8.onnx"]["layers"][0]["bias"] = "nowhere"
        text = json.dumps(content).encode()
        bundle = changed(for_any, tmp_path / "other", predictor_json=text)
        self.refused(bundle, paintings, r"int8\.onnx lacks layers that it names")

    def test_layers_whose_filters_are_another_constant(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        content = self.layers(for_any)
        layers = content["graphs"]["onnx"]["layers"]
        layers[0]["weight"] = layers[1]["weight"]
        text = json.dumps(content).encode()
        bundle = changed(for_any, tmp_path / "other", predictor_json=text)
        self.refused(bundle, paintings, r"model\.onnx lacks layers that it names")

    def test_a_layer_that_is_named_twice(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        content = self.layers(for_any)
        for graph in content["graphs"].values():
            graph["layers"].append(graph["layers"][0])
        text = json.dumps(content).encode()
        bundle = changed(for_any, tmp_path / "other", predictor_json=text)
        self.refused(bundle, paintings, r"lacks layers that it names")

    def other_constants(self, bundle: Bundle, folder: Path, **values: Values) -> Bundle:
        """A copy whose float graph has another weight or bias in its first layer of a style."""
        content = self.layers(bundle)
        layer = content["graphs"]["onnx"]["layers"][0]
        graph = onnx.load(bundle.path / "model.onnx")
        for tensor in graph.graph.initializer:
            for role, own in values.items():
                if tensor.name == layer[role]:
                    tensor.CopyFrom(numpy_helper.from_array(own, tensor.name))
        made = graph.SerializeToString()
        content["graphs"]["onnx"]["sha256"] = hashlib.sha256(made).hexdigest()
        text = json.dumps(content).encode()
        return changed(bundle, folder, model_onnx=made, predictor_json=text)

    def test_constants_of_different_filters_are_refused_before_they_are_multiplied(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        many = np.zeros(40_000, np.float32)  # with filters of one each, 40000 x 40000 numbers
        one = np.zeros((1, 40_000, 1, 1), np.float32)
        bundle = self.other_constants(for_any, tmp_path / "large", bias=many, weight=one)
        tracemalloc.start()
        try:
            self.refused(bundle, paintings, r"model\.onnx: a layer's constants are of different")
            assert tracemalloc.get_traced_memory()[1] < 50e6
        finally:
            tracemalloc.stop()

    def test_filters_that_a_painting_makes_infinite(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        (name,) = {self.layers(for_any)["graphs"]["onnx"]["layers"][0]["weight"]}
        graph = onnx.load(for_any.path / "model.onnx")
        (shape,) = (own.dims for own in graph.graph.initializer if own.name == name)
        largest = np.full(tuple(shape), np.finfo(np.float32).max, np.float32)
        bundle = self.other_constants(for_any, tmp_path / "large", weight=largest)
        self.refused(bundle, paintings, r"predictor\.onnx is damaged: it makes .* not finite")

    def test_layers_of_another_file(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        content = self.layers(for_any)
        content["graphs"]["onnx"]["sha256"] = "0" * 64
        text = json.dumps(content).encode()
        bundle = changed(for_any, tmp_path / "other", predictor_json=text)
        self.refused(bundle, paintings, r"model\.onnx is not the file that it is for")

    def test_layers_that_are_missing_or_nothing(
        self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path
    ) -> None:
        for number, content in enumerate((None, b"{", b'{"schema": "nstc.predictor/1"}')):
            bundle = changed(for_any, tmp_path / str(number), predictor_json=content)
            self.refused(bundle, paintings, r"predictor\.json is damaged")

    def test_a_later_schema(self, for_any: Bundle, paintings: PhotoSet, tmp_path: Path) -> None:
        text = json.dumps({**self.layers(for_any), "schema": "nstc.predictor/2"}).encode()
        bundle = changed(for_any, tmp_path / "later", predictor_json=text)
        with pytest.raises(SchemaVersionError, match="upgrade nstc"):
            Stylizer(bundle, style=paintings.paths[1])

    def test_a_bundle_of_one_style_takes_no_painting(self) -> None:
        with pytest.raises(OptionError, match="one style"):
            open_for_any(open_bundle("zoo:starry-night"))


def test_the_predictor_is_a_part_of_what_is_sealed(for_any: Bundle) -> None:
    assert {PREDICTOR_FILE, LAYERS_FILE} <= for_any.manifest.files.keys()
