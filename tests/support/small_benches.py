"""Small photographs, sessions that are functions, and bundles with tiny graphs."""

import base64
import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nstc.benchmarks.gate import check_models
from nstc.benchmarks.result import (
    BenchProtocol,
    BenchResult,
    LatencySummary,
    Quality,
    Reference,
    Row,
)
from nstc.benchmarks.subjects import Probe, Subject, find_subject, teacher_of
from nstc.benchmarks.targets import TARGETS
from nstc.benchmarks.targets.base import TargetKind
from nstc.benchmarks.targets.cpu import CpuTarget
from nstc.benchmarks.timing.machine import usable_cores
from nstc.benchmarks.timing.statistics import UNKNOWN, Interval, Tail, bootstrap_median
from nstc.core.bundle import (
    STYLE_FILE,
    WEIGHTS_FILE,
    Bundle,
    artifact_file,
    artifact_name,
    new_bundle,
    open_bundle,
)
from nstc.core.images import Picture, Pixels, write_picture
from nstc.core.manifest import Manifest, Origin, Style
from nstc.core.photos import PhotoSet
from nstc.models.architectures import describe
from nstc.models.student import Student
from nstc.models.style import StyleStatistics, statistics_of_painting
from nstc.models.tensors import save_tensors
from nstc.models.vgg import VggFeatures, load_vgg
from nstc.runtime.session import Session


@dataclass
class FunctionSession:
    """A session that stylises by a function, and writes down what it was given."""

    function: Callable[[Pixels], Pixels]
    name: str = "session"
    artifact: str = "int8.onnx"
    path: Path = Path("model.int8.onnx")
    log: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def prepare(self, rgb: Pixels) -> Pixels:
        return rgb

    def infer(self, feed: Pixels) -> Pixels:
        return self.function(feed)

    def finish(self, raw: Pixels) -> Pixels:
        return raw

    def run(self, rgb: Pixels) -> Pixels:
        self.log.append((self.name, rgb.shape))
        return self.finish(self.infer(self.prepare(rgb)))


@pytest.fixture(scope="session")
def vgg() -> VggFeatures:
    return load_vgg()


@pytest.fixture
def photo_set(tmp_path: Path) -> Callable[..., PhotoSet]:
    """Photographs: blurred noise 48 pixels wide and 40 high, no two alike."""

    def make(count: int) -> PhotoSet:
        rng = np.random.default_rng(3)
        paths = []
        for number in range(count):
            coarse = rng.integers(30, 226, (10, 12, 3), dtype=np.uint8)
            path = tmp_path / "photos" / f"{number:02d}.png"
            write_picture(path, Picture(rgb=coarse.repeat(4, axis=0).repeat(4, axis=1)))
            paths.append(path)
        return PhotoSet(tuple(paths), ("photos",))

    return make


@pytest.fixture(scope="session")
def stripes_style(vgg: VggFeatures) -> StyleStatistics:
    """Of a painting of blue stripes."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::4, :, 2] = 255
    return statistics_of_painting(stripes, vgg, [256])


@pytest.fixture
def make_bundle(tmp_path: Path, stripes_style: StyleStatistics) -> Callable[..., Bundle]:
    """Bundles whose graphs scale brightness, whatever the student's weights are."""

    def make(
        name: str,
        artifacts: dict[str, float],
        *,
        teacher: Origin | None = None,
        style_source: str | None = "painting",
        width: int = 8,
    ) -> Bundle:
        network = Student(width, [8], "plain")
        architecture, contract = describe(network)
        style = None
        if style_source is not None:
            source: Any = style_source
            style = Style(name="stripes", source=source, credit="Nobody, 2020")
        manifest = Manifest(
            name=name,
            stage="distilled",
            architecture=architecture,
            contract=contract,
            style=style,
            teacher=teacher,
        )
        with new_bundle(tmp_path / name, manifest) as draft:
            save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
            if style is not None:
                save_tensors(stripes_style.packed(), draft / STYLE_FILE)
            for artifact, brightness in artifacts.items():
                brightness_graph(draft / artifact_file(artifact), brightness)
        return open_bundle(tmp_path / name)

    return make


def brightness_graph(path: Path, factor: float) -> None:
    """The float graph [1, 3, H, W] in [0, 1] that multiplies by `factor`."""
    shape = [1, 3, "height", "width"]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["images", "factor"], ["stylised"])],
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("stylised", TensorProto.FLOAT, shape)],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


@pytest.fixture
def function_session() -> type[FunctionSession]:
    return FunctionSession


@pytest.fixture
def foreign_file(tmp_path: Path) -> Path:
    """A graph made by others, uint8 [1, H, W, 3], that halves brightness."""
    shape = [1, "height", "width", 3]
    graph = helper.make_graph(
        [helper.make_node("BitShift", ["images", "one"], ["stylised"], direction="RIGHT")],
        "halve",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("stylised", TensorProto.UINT8, shape)],
        [helper.make_tensor("one", TensorProto.UINT8, [], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    return path


@dataclass
class FakeBench:
    """Stands for `bench`: real bundles and facts, made-up times and quality.

    Attributes:
        speeds: By model's name, times faster than the reference. A sequence is one for each round.
        metrics: By name, of every model.
        tails: Likewise, of the worst photographs.
        changes: Fields of rows to replace; instructions, of those on the target of that name.
        reference_ms: What the reference takes in every round.
        protocol: Fields of the protocol to replace.
        machine: What the run says of its machine.
        calls: Models, artifacts and settings that it was asked for.
    """

    speeds: dict[str, float | list[float]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=lambda: {"ssim": 0.8, "style_ratio": 1.2})
    tails: dict[str, Tail] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    reference_ms: float = 100.0
    protocol: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(
        default_factory=lambda: {
            "arch": "x86_64",
            "int8": ["avx2", "avx512_vnni"],
            "cpu": "Some CPU",
            "tools": {"onnxruntime": "1.31.0"},
        }
    )
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, models, *, against, artifacts, photos, recipe, **options) -> BenchResult:
        reference = find_subject(against)
        subjects = [find_subject(model) for model in models]
        paths = [subject.path for subject in subjects]
        self.calls.append({"models": paths, "artifacts": artifacts, "recipe": recipe, **options})
        rows = [
            self.row(subject, artifact_name(artifact), recipe, options)
            for subject in subjects
            for artifact in artifacts or subject.artifacts(recipe.size)
        ]
        protocol = BenchProtocol(
            rounds=recipe.rounds,
            size=recipe.size,
            photos=photos.take(recipe.quality_photos).record(),
            seed=recipe.seed,
            vgg="eye" if options["quality"] else None,
            reference=reference.identity,
        )
        return BenchResult(
            machine=self.machine,
            protocol=dataclasses.replace(protocol, **self.protocol),
            references=(
                Reference(
                    model=reference.name,
                    artifact="onnx",
                    target=recipe.targets[0],
                    latency_ms=LatencySummary.of((self.reference_ms,) * recipe.rounds),
                ),
            ),
            rows=tuple(rows),
        )

    def row(self, subject, artifact, recipe, options) -> Row:
        speeds = self.speeds.get(subject.path.name, 10.0)
        if not isinstance(speeds, list):
            speeds = [speeds]
        samples = [self.reference_ms / speeds[i % len(speeds)] for i in range(recipe.rounds)]
        quality = None
        if options["quality"]:
            teacher = teacher_of(subject, options["teacher"])
            quality = Quality(
                metrics={
                    name: Interval(median=value, low=value, high=value)
                    for name, value in self.metrics.items()
                },
                photos=2,
                teacher=teacher.name,
                style_source="painting",
                tails=self.tails,
            )
        row = Row(
            model=subject.name,
            artifact=artifact,
            target=recipe.targets[0],
            size=recipe.size,
            latency_ms=LatencySummary.of(tuple(samples)),
            speedup=(
                bootstrap_median([self.reference_ms / ms for ms in samples], seed=0)
                if samples
                else UNKNOWN
            ),
            params=1000,
            macs=2_000_000,
            size_bytes=30_000,
            quality=quality,
        )
        changes = dict(self.changes)
        if row.target != "instructions":
            changes.pop("instructions", None)
        return dataclasses.replace(row, **changes)


@pytest.fixture
def fake_bench(monkeypatch) -> FakeBench:
    """What the gate runs instead of `bench`."""
    fake = FakeBench()
    monkeypatch.setattr(check_models, "bench", fake)
    return fake


@dataclass(frozen=True, kw_only=True)
class Brush(CpuTarget):
    """A device that draws by itself: its pictures are half as bright."""

    draws_on: ClassVar[str] = "brush"

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        session = super().open(subject, artifact, probe)
        return FunctionSession(
            lambda rgb: session.run(rgb) // 2, artifact=artifact, path=session.path
        )


@pytest.fixture
def brush(monkeypatch) -> None:
    """A target of that name."""
    kind = TargetKind(
        form="brush",
        summary="half as bright",
        make=lambda _: Brush(name="brush", threads=1, cores=usable_cores()[:1]),
        availability=lambda: None,
    )
    monkeypatch.setitem(TARGETS, "brush", kind)


@dataclass
class FarSpeech:
    """What a far machine says about a job, as lines with {token} for the job's own.

    Attributes:
        turns: How many it reports.
        pictures: By position; (H, W, 3) uint8.
        result: Its facts and figures.
    """

    turns: int
    pictures: dict[int, Pixels]
    result: dict[str, Any]

    def lines(self) -> list[str]:
        said = ["turn"] * self.turns
        for number, picture in self.pictures.items():
            packed = base64.b64encode(zlib.compress(picture.tobytes())).decode("ascii")
            said.append(f"picture {number} {packed}")
        said.append(f"result {json.dumps(self.result)}")
        return [f"nstc-{{token}} {words}" for words in said]


@pytest.fixture
def far_speech() -> Callable[..., FarSpeech]:
    """A truthful answer about a reference and a candidate that give these pictures."""

    def make(pictures: Sequence[Pixels], rounds: int = 3) -> FarSpeech:
        graphs = len(pictures)
        footprint = {"peak_bytes": 60_000_000, "network_bytes": 4_000_000, "cold_start_ms": 31.5}
        return FarSpeech(
            turns=1 + graphs * (2 + rounds),
            pictures=dict(enumerate(pictures)),
            result={
                "samples_ms": [[20.0 / (1 + number)] * rounds for number in range(graphs)],
                "machine": {
                    "arch": "aarch64",
                    "cpu": "Some Board",
                    "os": "Linux 6.1",
                    "python": "3.11.2",
                    "numpy": "2.1.0",
                    "onnxruntime": "1.22.0",
                    "int8": ["asimd", "asimddp"],
                    "cores": 4,
                    "pinned": [3],
                },
                "provider": "CPUExecutionProvider",
                "footprints": [footprint] * graphs,
            },
        )

    return make
