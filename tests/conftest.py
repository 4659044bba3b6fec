"""Fixtures that many tests share: small pictures, small graphs, and a bundle that runs them.

The graphs are written with onnx.helper and give the negative of a picture, 255 - x, so that what
comes out can be worked out by hand.
"""

import gc
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

from nstc.core.bundle import STYLE_FILE, WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.manifest import Architecture, Contract, Manifest, Origin, Step, Style
from nstc.core.photos import sample_photos

Graph = Callable[..., Path]
MakeBundle = Callable[..., Bundle]
InstallExtension = Callable[[str, Mapping[str, Mapping[str, str]], str], Path]

MEANT = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""What signals do in a process of which nothing else was asked."""

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that make or run ExecuTorch programs are left out where it is not installed."""
    if importlib.util.find_spec("executorch") is not None:
        return
    for item in items:
        if item.get_closest_marker("executorch") is not None:
            item.add_marker(pytest.mark.skip('not installed: pip install "nstc[executorch]"'))


def pytest_collection_finish() -> None:
    """Search what was imported for garbage once: it takes a fifth of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _no_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What session fixtures make is kept for them alone too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("session-cache")))
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _signals_arrive() -> Iterator[None]:
    """Also where whoever started the tests has signals ignored, as nohup and a script's & do.

    Programs that a test starts inherit it, so that Ctrl-C reaches them too.
    """
    ignored = [number for number in MEANT if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, MEANT[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def install_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InstallExtension]:
    """Installs a package that adds parts to nstc, as pip would: its module, and its metadata."""
    modules = []

    def install(package: str, parts: Mapping[str, Mapping[str, str]], code: str) -> Path:
        """`parts` are names in the module by the parts' own, for each group of entry points."""
        folder, module = tmp_path / "site-packages" / package, package.replace("-", "_")
        described = folder / f"{module}-1.0.dist-info"
        described.mkdir(parents=True)
        (described / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8"
        )
        lines = [
            line
            for group, names in parts.items()
            for line in (f"[{group}]", *(f"{own} = {module}:{names[own]}" for own in names))
        ]
        (described / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / f"{module}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        modules.append(module)
        return folder

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session")
def photo_path() -> Path:
    """A sample photograph."""
    return sample_photos().paths[0]


@pytest.fixture
def pixels() -> np.ndarray:
    """A picture (37, 53, 3) uint8 in which no two rows or columns are alike."""
    rng = np.random.default_rng(7)
    return rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)


@pytest.fixture
def save_picture(tmp_path: Path) -> Callable[..., Path]:
    """Writes an array (H, W, 3) to a file of the test's folder, with Pillow's options."""

    def save(rgb: np.ndarray, name: str = "photo.png", **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(path, **options)
        return path

    return save


@pytest.fixture(scope="session")
def write_graph() -> Graph:
    """Writes an ONNX file of some nodes: from x to y, with constants by name."""

    def write(
        path: Path,
        nodes: Sequence[onnx.NodeProto],
        *,
        shape: Sequence[int | str] = (1, 3, "H", "W"),
        output_shape: Sequence[int | str] | None = None,
        dtype: int = FLOAT,
        output_dtype: int | None = None,
        constants: Mapping[str, Any] | None = None,
        more_inputs: Sequence[onnx.ValueInfoProto] = (),
    ) -> Path:
        initializers = [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in (constants or {}).items()
        ]
        given = helper.make_tensor_value_info("x", dtype, shape)
        made = helper.make_tensor_value_info(
            "y", output_dtype or dtype, output_shape if output_shape is not None else shape
        )
        graph = helper.make_graph(
            list(nodes), "test", [given, *more_inputs], [made], initializer=initializers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def negative_bytes(write_graph: Graph) -> Graph:
    """Writes the negative as devices run it: uint8 NHWC in and out."""

    def write(path: Path, height: int | str = "H", width: int | str = "W") -> Path:
        return write_graph(
            path,
            [
                helper.make_node("Cast", ["x"], ["f"], to=FLOAT),
                helper.make_node("Sub", ["white", "f"], ["n"]),
                helper.make_node("Cast", ["n"], ["y"], to=UINT8),
            ],
            shape=(1, height, width, 3),
            dtype=UINT8,
            constants={"white": np.float32(255)},
        )

    return write


@pytest.fixture(scope="session")
def linear(write_graph: Graph) -> Graph:
    """Writes the float graph y = scale * x + offset."""

    def write(path: Path, scale: float, offset: float, **options: Any) -> Path:
        return write_graph(
            path,
            [
                helper.make_node("Mul", ["x", "scale"], ["m"]),
                helper.make_node("Add", ["m", "offset"], ["y"]),
            ],
            constants={"scale": np.float32(scale), "offset": np.float32(offset)},
            **options,
        )

    return write


@pytest.fixture(scope="session")
def styled(write_graph: Graph) -> Graph:
    """Writes y = x times what its input `style` stands for, within 0 and 1.

    Of the kinds "index" (int64) and "weights" (float) that is one of 0.5, 0.7 and 0.9, of the kind
    "painting" the mean of a picture.
    """
    nodes = {
        "index": [helper.make_node("Gather", ["gains", "style"], ["gain"])],
        "weights": [
            helper.make_node("Mul", ["gains", "style"], ["each"]),
            helper.make_node("ReduceSum", ["each"], ["gain"]),
        ],
        "painting": [helper.make_node("ReduceMean", ["style"], ["gain"])],
    }
    shapes = {"index": ["N"], "weights": [3], "painting": [1, 3, "h", "w"]}

    def write(path: Path, kind: str) -> Path:
        dtype = TensorProto.INT64 if kind == "index" else FLOAT
        return write_graph(
            path,
            [
                *nodes[kind],
                helper.make_node("Mul", ["x", "gain"], ["m"]),
                helper.make_node("Clip", ["m", "black", "white"], ["y"]),
            ],
            constants={
                "gains": np.array([0.5, 0.7, 0.9], np.float32),
                "black": np.float32(0),
                "white": np.float32(1),
            },
            more_inputs=[helper.make_tensor_value_info("style", dtype, shapes[kind])],
        )

    return write


@pytest.fixture(scope="session")
def weights_beside() -> Callable[[Path], Path]:
    """Moves an ONNX file's tensors into FILE.data beside it, as torch's exporter does."""

    def move(path: Path) -> Path:
        graph = onnx.load(path)
        data = path.with_name(f"{path.name}.data")
        data.unlink(missing_ok=True)
        onnx.save(graph, path, save_as_external_data=True, location=data.name, size_threshold=0)
        return path

    return move


@pytest.fixture
def make_bundle(negative_bytes: Graph, linear: Graph) -> MakeBundle:
    """Makes a bundle whose int8 and float graphs give the negative of a picture.

    Its weights are a few random numbers: it runs, but no network can be built of it.
    """

    def make(path: Path, *, artifacts: Sequence[str] = ("int8", "float"), seed: int = 0) -> Bundle:
        rng = np.random.default_rng(seed)
        manifest = Manifest(
            name="negative",
            stage="quantized",
            architecture=Architecture(name="student", arguments={"width": 8, "inner": [8]}),
            contract=Contract(
                size_multiple=4, minimum_size=4, receptive_field=35, locality="exact"
            ),
            style=Style(name="negative", source="painting", credit="Nobody, 2020"),
            teacher=Origin(name="teacher", sha256="0" * 64),
            history=(Step(verb="distill", recipe={"steps": 1}, seed=0, results={"loss": 0.5}),),
        )
        with new_bundle(path, manifest) as draft:
            weights = rng.standard_normal((8, 3), dtype=np.float32)
            save_file({"stem.weight": weights}, draft / WEIGHTS_FILE)
            save_file({"256.relu1_2": weights[0]}, draft / STYLE_FILE)
            if "int8" in artifacts:
                negative_bytes(draft / "model.int8.onnx")
            if "float" in artifacts:
                linear(draft / "model.onnx", -1, 1)
        return open_bundle(path)

    return make


@pytest.fixture
def bundle(make_bundle: MakeBundle, tmp_path: Path) -> Bundle:
    """A bundle that gives the negative of a picture."""
    return make_bundle(tmp_path / "negative")
