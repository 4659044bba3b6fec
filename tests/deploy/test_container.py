"""What the Dockerfile promises, as far as it can be read: docs/deploy/containers.md."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(
        r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ).splitlines()
    if line and not line.startswith("#")
]


def arguments_of(name: str) -> list[str]:
    return [given for own, given in INSTRUCTIONS if own == name]


def test_both_stages_are_of_one_base_that_names_its_version() -> None:
    [base] = arguments_of("ARG")
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.\d+-slim", base)
    assert arguments_of("FROM") == ["${BASE} AS build", "${BASE}"]


def test_no_line_is_of_one_architecture() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"amd64|x86|arm64|aarch64|--platform", text)


def test_it_runs_nstc_as_nobody_and_writes_below_tmp_alone() -> None:
    user = arguments_of("USER")[-1]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)  # a number, which Kubernetes can check
    assert [name for name, _ in INSTRUCTIONS].index("USER") > max(
        place for place, (name, _) in enumerate(INSTRUCTIONS) if name == "RUN"
    )
    assert arguments_of("ENTRYPOINT") == ['["nstc"]']
    [settings] = arguments_of("ENV")
    environment = dict(pair.split("=", 1) for pair in settings.split())
    assert environment["NSTC_CACHE"].startswith("/tmp/")
    assert environment["HOME"] == "/tmp"


def test_what_the_wheel_is_built_from_is_sent_without_what_building_leaves() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    sent = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert sent == {
        *("LICENSE", "README.md", "pyproject.toml"),
        *("benchmarks", "compress", "models", "runtime", "src"),
    }
    assert {"**/__pycache__", "**/*.egg-info"} <= set(patterns)
