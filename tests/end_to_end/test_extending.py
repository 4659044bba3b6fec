"""docs/guides/extending*.md: their diffs, applied, installed beside nstc, and used by the CLI."""

import contextlib
import io
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nstc.benchmarks.gate.baseline import load_baseline
from nstc.cli.app import main
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.photos import PhotoSet

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
PAGE = "\n".join(
    (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    for name in ("extending", "extending-metrics-formats-targets")
)
DIFFS = re.findall(r"^```diff\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
GROUPS = ["nstc.losses", "nstc.blocks", "nstc.metrics", "nstc.formats", "nstc.targets"]
BUNDLED = ["--format", "onnx,npz"]


def files_of(diff: str) -> dict[str, str]:
    """What a diff of new lines alone adds, by file."""
    added: dict[str, str] = defaultdict(str)
    name = ""
    for line in diff.splitlines():
        if line.startswith("+++ b/"):
            name = line.removeprefix("+++ b/")
        elif not line.startswith("--- "):
            assert line.startswith("+"), line
            added[name] += f"{line[1:]}\n"
    return added


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def nstc(*arguments: object) -> Ended:
    """A command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nstc", *map(str, arguments)])
        patch.setenv("COLUMNS", "120")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Mapping[str, str]]:
    """The page's package on the path, with the metadata that pip makes of its pyproject.toml."""
    files: dict[str, str] = defaultdict(str)
    for diff in DIFFS:
        for name, text in files_of(diff).items():
            files[name] += text
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    described = folder / f"nstc_sketch-{project['version']}.dist-info"
    described.mkdir()
    lines = [f"Name: {project['name']}", f"Version: {project['version']}"]
    (described / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    points = [
        line
        for group, parts in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {where}" for name, where in parts.items()))
    ]
    (described / "entry_points.txt").write_text("\n".join(points) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        try:
            yield files
        finally:
            for module in [name for name in sys.modules if name.startswith("nstc_sketch")]:
                del sys.modules[module]


class Made(NamedTuple):
    """What the verbs made with the package installed; it is not installed any more."""

    student: Bundle
    losses: list[dict[str, float]]
    bench: Ended
    targets: Ended
    folder: Path  # of result.json and baseline.json
    photos: Path


@pytest.fixture(scope="module")
def made(painter: Bundle, photos: PhotoSet, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, pictures = tmp_path_factory.mktemp("extended"), photos.paths[0].parent
    student = folder / "student"
    steps = ["--pixel-steps", 1, "--steps", 2, "--batch", 1, "--size", 64, "--no-balance"]
    shape = ["--student", "dilated", "--width", 8, "--blocks", 1]
    bench = ["--target", "roaming:1", "--size", 32, "--rounds", 3, "--photos", pictures]
    kept = ["--json", folder / "result.json", "--save-baseline", folder / "baseline.json"]
    with installed(tmp_path_factory.mktemp("site")):
        learn = ["distill", painter.path, "-o", student, "--photos", pictures]
        for arguments in (
            [*learn, *shape, *steps, "--terms", "edges=0.5"],
            ["export", student, *BUNDLED],
        ):
            done = nstc(*arguments)
            assert done.code == 0, done.err
        measured = nstc("bench", student, "--against", painter.path, *bench, *kept)
        assert measured.code == 0, measured.err
        listed = nstc("targets", "--json")
    log = student.with_name("student.training") / "perceptual" / "losses.jsonl"
    losses = [json.loads(line) for line in log.read_text().splitlines()]
    return Made(open_bundle(student), losses, measured, listed, folder, pictures)


@pytest.mark.parametrize(("group", "diff"), [*zip(GROUPS, DIFFS[1:], strict=True)])
def test_each_part_is_one_new_file_one_line_and_one_test(group: str, diff: str) -> None:
    (code, project, test) = files_of(diff)
    assert code.startswith("nstc_sketch/")
    assert (project, test.partition("_")[0]) == ("pyproject.toml", "tests/test")
    added = files_of(diff)
    (parts,) = tomllib.loads(added[project])["project"]["entry-points"].items()
    assert (parts[0], len(parts[1])) == (group, 1)
    assert added[test].count("def test_") == 1


def test_the_pages_own_tests_pass(tmp_path: Path) -> None:
    ran = []
    with installed(tmp_path) as files:
        for name in (name for name in files if name.startswith("tests/")):
            scope: dict[str, Callable[[], None]] = {}
            exec(compile(files[name], name, "exec"), scope)  # noqa: S102
            for test in [own for own in scope if own.startswith("test_")]:
                scope[test]()
                ran.append(test)
    assert len(ran) == len(GROUPS)


def test_a_student_learns_by_the_term_in_blocks_of_the_kind(made: Made) -> None:
    assert len(made.losses) == 2
    assert all(step["edges"] > 0 for step in made.losses)
    manifest = made.student.manifest
    assert manifest.architecture.arguments["block"] == "dilated"
    assert manifest.contract.receptive_field == 8 + 8 * (4 + 1) + 3
    recipe = manifest.history[0].recipe
    assert recipe["terms"] == "edges=0.5"
    assert recipe["extensions"] == {
        "nstc.blocks": {"dilated": "nstc-sketch 1.0"},
        "nstc.losses": {"edges": "nstc-sketch 1.0"},
    }


def test_the_format_is_a_file_of_the_bundle(made: Made) -> None:
    assert made.student.artifacts == ("npz", "onnx")
    with (made.student.path / "model.npz").open("rb") as stream:
        assert stream.read(2) == b"PK"
    done = nstc("verify", made.student.path)
    assert done.code == 0, done.err
    assert "nothing here runs .npz files" in " ".join(done.out.split())


def test_results_have_the_metric_on_the_target(made: Made) -> None:
    (row,) = json.loads((made.folder / "result.json").read_text())["rows"]
    assert (row["target"], row["artifact"]) == ("roaming:1", "onnx")
    assert row["quality"]["sharpness"] > 0
    assert row["quality"]["intervals"]["sharpness"]["low"] <= row["quality"]["sharpness"]
    heading = made.bench.out.splitlines()[:3]
    assert any("sharp" in line for line in heading)
    assert f"{row['quality']['sharpness']:.2f}" in made.bench.out
    known = {kind["target"]: kind["available"] for kind in json.loads(made.targets.out)}
    assert known["roaming[:N]"] is True


def test_a_baseline_holds_the_metric_and_says_that_it_was_not_measured(made: Made) -> None:
    baseline = load_baseline(made.folder / "baseline.json")
    quality = baseline.rows[0].quality
    assert quality is not None
    assert quality.metrics["sharpness"] > 0


class TestWithoutThePackage:
    def test_the_student_is_refused_by_the_packages_name(self, made: Made) -> None:
        done = nstc("export", made.student.path, "--format", "torchscript")
        assert done.code == 22
        assert "blocks of the kind 'dilated', which this nstc lacks" in done.err
        assert done.err.strip().endswith("install nstc-sketch 1.0.")

    def test_its_exported_file_runs(self, made: Made, tmp_path: Path) -> None:
        photo = next(made.photos.iterdir())
        paint = ["-m", made.student.path, "--artifact", "float", "-o", tmp_path / "painted.png"]
        done = nstc("stylize", photo, *paint)
        assert done.code == 0, done.err

    def test_a_report_of_the_result_is_made(self, made: Made, tmp_path: Path) -> None:
        done = nstc(
            *("report", made.folder / "result.json", "-o", tmp_path / "page.html"),
            *("--no-pictures", "--no-layer-times", "--all-metrics"),
        )
        assert done.code == 0, done.err
        assert "sharpness" in (tmp_path / "page.html").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--terms", "edges=1"], "terms names edges: expected some of perceptual, moments, "),
            (["--student", "dilated"], "student is dilated: expected one of nano, tiny, small"),
        ],
    )
    def test_its_parts_are_unknown_to_distill(self, made: Made, arguments, said) -> None:
        done = nstc("distill", "teacher", "-o", made.folder / "none", *arguments)
        assert (done.code, said in done.err) == (3, True), done.err

    def test_its_parts_are_unknown_to_export_and_bench(self, made: Made) -> None:
        done = nstc("export", made.student.path, *BUNDLED)
        assert (done.code, "format is npz: expected some of onnx, " in done.err) == (3, True)
        done = nstc("bench", made.student.path, "--target", "roaming:1")
        assert (done.code, "no target 'roaming:1': expected one of" in done.err) == (3, True)


def test_the_pages_links_lead_somewhere() -> None:
    places = re.findall(r"\]\((\.\./[^)#]+)\)", PAGE)
    assert len(places) > len(GROUPS)
    assert [place for place in places if not (GUIDES / place).exists()] == []


def test_the_readme_names_the_page() -> None:
    assert "(docs/guides/extending.md)" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
