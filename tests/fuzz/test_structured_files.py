"""Files of structured content, changed at random: each is read or refused, and nothing else.

Refused means one of the documented errors, in one line, within 10 s and 2 GB, with nothing written.
"""

import dataclasses
import hashlib
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mangled, mutated
from safetensors import safe_open

from nstc.benchmarks.gate.baseline import load_baseline
from nstc.benchmarks.report.stored_results import read_results
from nstc.compress.card import card
from nstc.core.bundle import (
    MANIFEST_FILE,
    QUANTIZATION_FILE,
    STYLE_FILE,
    WEIGHTS_FILE,
    Bundle,
    new_bundle,
    open_bundle,
    revised_bundle,
)
from nstc.core.errors import (
    BaselineError,
    BundleError,
    NstcError,
    OptionError,
    RecipeError,
    UnusableModelError,
)
from nstc.core.files import sha256_of
from nstc.core.manifest import FileRecord, Manifest, Origin, Step, Style
from nstc.core.recipe import load_recipe, recipe_from
from nstc.core.zoo import zoo_folder
from nstc.models.architectures import describe, learned_ranges, load
from nstc.models.losses import STYLE_LAYERS
from nstc.models.student import Student
from nstc.models.style import StyleStatistics, style_of
from nstc.models.tensors import save_tensors
from nstc.runtime.arrays import check_picture
from nstc.runtime.check_vectors import CHECKS_FILE, digest_of, read_check_vectors

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # on failure

EXAMPLES = [20, pytest.param(5000, marks=pytest.mark.fuzz)]
SECONDS = 10
"""Of the processor, for one file."""

MOST_MEMORY = 2 * 1024**3
ROOT = Path(__file__).parents[2]

Read = Callable[[Any], object]


@pytest.fixture(autouse=True)
def _memory_stays() -> Iterator[None]:
    """What the process held at most grows by less than 2 GB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MOST_MEMORY


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small student with all that a bundle has, in a folder of its own."""
    torch.manual_seed(0)
    network = Student(8, [8])
    architecture, contract = describe(network)
    style = Style(name="noise", source="painting", credit="Nobody")
    manifest = Manifest(
        name="small",
        stage="distilled",
        architecture=architecture,
        contract=contract,
        style=style,
        teacher=Origin(name="teacher", sha256="0" * 64, path="/nowhere"),
        history=(Step(verb="distill", recipe={"steps": 1}, seed=0, results={"loss": 0.5}),),
        measurements=open_bundle("zoo:udnie").manifest.measurements[:1],
    )
    grams = {n: torch.eye(c) for n, c in zip(STYLE_LAYERS, (64, 128, 256, 512), strict=True)}
    with new_bundle(tmp_path_factory.mktemp("fuzz") / "home" / "small", manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        save_tensors(StyleStatistics({256: grams}).packed(), draft / STYLE_FILE)
        save_tensors({"input": torch.zeros(2), "stem": torch.ones(2)}, draft / QUANTIZATION_FILE)
        (draft / CHECKS_FILE).write_text(json.dumps(checks()))
    return open_bundle(draft.parent / "small")


def checks() -> dict[str, Any]:
    """Check vectors as they are written."""
    shipped = json.loads((zoo_folder() / "udnie" / "student" / CHECKS_FILE).read_text())
    shipped["vectors"] = {"onnx": shipped["vectors"]["onnx"]}
    rgb = check_picture(0, 45, 59)
    assert shipped["vectors"]["onnx"]["picture_sha256"] == digest_of(rgb)
    return dict(shipped)


def with_file(bundle: Bundle, name: str, content: bytes) -> Bundle:
    """The bundle with another file, which its manifest knows of: hostile, not damaged."""
    (bundle.path / name).write_bytes(content)
    record = FileRecord(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    files = {**bundle.manifest.files, name: record}
    return dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, files=files))


def hammer(
    examples: int, contents: st.SearchStrategy[Any], read: Read, *kinds: type[NstcError]
) -> None:
    """Read many contents; each must be read, or refused by one of some kinds of error."""

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def each(content: Any) -> None:
        start = time.process_time()
        try:
            read(content)
        except kinds as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
            assert len(str(error)) < 3000  # noqa: PT017
        assert time.process_time() - start < SECONDS

    each()


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


def sealed(content: Any) -> bytes:
    """A manifest whose seal is right whatever it says."""
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key != "seal"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        content["seal"] = hashlib.sha256(text.encode()).hexdigest()
    return as_json(content)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_manifests(bundle, tmp_path, examples) -> None:
    hostile = Path(shutil.copytree(bundle.path, tmp_path / "home" / "hostile"))
    whole = (hostile / MANIFEST_FILE).read_bytes()
    contents = mutated(json.loads(whole)).map(sealed) | mangled(whole)

    def read(content: bytes) -> None:
        (hostile / MANIFEST_FILE).write_bytes(content)
        try:
            opened = open_bundle(hostile)
            assert opened.identity
            assert isinstance(opened.artifacts, tuple)
            assert opened.manifest == Manifest.from_json(opened.manifest.to_json(), "again")
            load(opened)
            style_of(opened)
            card(opened.manifest)
            with revised_bundle(opened, tmp_path / "out" / "copy", opened.manifest):
                pass
        finally:
            assert sorted(p.name for p in tmp_path.iterdir()) in (["home"], ["home", "out"])
            assert [p.name for p in hostile.parent.iterdir()] == ["hostile"]

    hammer(examples, contents, read, BundleError)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_check_vectors(bundle, examples) -> None:
    contents = mutated(checks()).map(as_json) | mangled(as_json(checks()))

    def read(content: bytes) -> None:
        for vector in read_check_vectors(with_file(bundle, CHECKS_FILE, content)).values():
            vector.picture()

    hammer(examples, contents, read, BundleError)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_baselines(tmp_path, examples) -> None:
    whole = json.loads((zoo_folder() / "baseline.json").read_text())
    small = {**whole, **{name: whole[name][:2] for name in ("models", "rows", "times", "log")}}
    known = {model["place"] for model in small["models"]}
    for name in ("rows", "files"):
        small[name] = [own for own in whole[name] if own["model"] in known]
    path = tmp_path / "baseline.json"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        baseline = load_baseline(path)
        for model in baseline.models:
            os.path.lexists(baseline.locate(model))

    load_baseline_of = mutated(small).map(as_json) | mangled(as_json(small))
    read(as_json(small))
    hammer(examples, load_baseline_of, read, BaselineError)


RECIPE = {
    "train": {"steps": 5, "style_weight": 1.5, "color_of": "photos", "balance": 1.0},
    "distill": {"student": "tiny", "width": 16, "size": 64, "balance": True},
    "prune": {"ratio": 0.5, "round_to": 8},
    "quantize": {"mode": "static", "percentile": 99.9},
    "bench": {"targets": ["cpu:1", "mobile"], "rounds": 5},
}


def as_toml(tables: dict[str, Any]) -> bytes:
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(lines).encode(errors="surrogatepass")


@pytest.mark.parametrize("examples", EXAMPLES)
def test_recipes(tmp_path, examples) -> None:
    path = tmp_path / "recipe.toml"
    whole = as_toml(RECIPE)

    def read(content: bytes | dict[str, Any]) -> None:
        if isinstance(content, dict):
            content = as_toml({k: v for k, v in content.items() if isinstance(v, dict)})
        path.write_bytes(content)
        load_recipe(path)

    assert recipe_from(RECIPE, "here")
    read(whole)
    contents = mutated(RECIPE).filter(lambda tree: isinstance(tree, dict)) | mangled(whole)
    hammer(examples, contents, read, RecipeError, OptionError)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_results(tmp_path, examples) -> None:
    whole = json.loads((ROOT / "docs" / "reports" / "zoo-report.json").read_text())
    small = {**whole, "rows": whole["rows"][:1], "references": whole["references"][:1]}
    for own in (*small["rows"], *small["references"]):
        own.get("latency_ms", {}).pop("samples", None)
    path = tmp_path / "result.json"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        read_results(path)

    read(as_json(small))
    hammer(examples, mutated(small).map(as_json) | mangled(as_json(small)), read, OptionError)


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(
    ("name", "use"),
    [(WEIGHTS_FILE, load), (STYLE_FILE, style_of), (QUANTIZATION_FILE, learned_ranges)],
)
def test_safetensors(bundle, tmp_path, name, use, examples) -> None:
    hostile = dataclasses.replace(bundle, path=Path(shutil.copytree(bundle.path, tmp_path / "b")))
    header, data = header_of(bundle.path / name)
    whole = (bundle.path / name).read_bytes()

    def built(changed: Any) -> bytes:
        text = as_json(changed)
        return len(text).to_bytes(8, "little") + text + data

    def read(content: bytes) -> None:
        use(with_file(hostile, name, content))

    with safe_open(bundle.path / name, framework="pt") as stored:
        assert stored.keys()
    assert sha256_of(bundle.path / name) == bundle.manifest.files[name].sha256
    contents = mutated(header).map(built) | mangled(whole[:4096])
    hammer(examples, contents, read, BundleError, UnusableModelError)
