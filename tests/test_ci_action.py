"""The GitHub action, its example in the guide, and this repository's own workflows."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION = ROOT / ".github" / "actions" / "nstc-check" / "action.yml"
GUIDE = ROOT / "docs" / "guides" / "ci.md"
WORKFLOWS_FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(WORKFLOWS_FOLDER.glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")


def examples():
    """Each workflow of the guide, as text."""
    return re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)


def example_jobs():
    [jobs] = [own for text in examples() if "jobs" in (own := yaml.safe_load(text))]
    return jobs


ALL = [ACTION.read_text(), *examples(), *(path.read_text() for path in WORKFLOWS)]


@pytest.mark.parametrize("text", ALL)
def test_others_actions_are_pinned_by_their_whole_hash(text):
    used = re.findall(r"uses: (.+)", text)
    others = [own for own in used if not own.startswith(("./", "OWNER/"))]
    assert [own for own in others if not PINNED.fullmatch(own)] == []


def test_no_job_may_do_more_than_it_needs():
    content = example_jobs()
    assert content["permissions"] == {}
    rights = {name: job["permissions"] for name, job in content["jobs"].items()}
    assert rights == {"check": {"contents": "read"}, "comment": {"pull-requests": "write"}}
    # what may write runs nothing of the pull request's
    used = [step.get("uses", "") for step in content["jobs"]["comment"]["steps"]]
    assert not [own for own in used if "checkout" in own or "nstc-check" in own]
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}, path


def test_quality_is_measured_each_week_whatever_the_hashes_say():
    workflow = yaml.safe_load((WORKFLOWS_FOLDER / "quality.yml").read_text())
    assert workflow[True]["schedule"]  # YAML reads the key `on` so
    [job] = workflow["jobs"].values()
    [target] = [own["run"].removeprefix("make ") for own in job["steps"] if "run" in own]
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    assert "--measure-quality" in recipe[1]


def test_only_what_publishes_a_release_may_write_and_it_runs_nothing_of_the_checkout():
    workflow = yaml.safe_load((WORKFLOWS_FOLDER / "release.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    jobs = workflow["jobs"]
    assert {name: job.get("permissions") for name, job in jobs.items()} == {
        "build": None,
        "attest": {"id-token": "write", "attestations": "write"},
        "publish": {"id-token": "write"},
        "page": {"contents": "write"},
    }
    for name in ("attest", "publish", "page"):
        steps = jobs[name]["steps"]
        assert not [own for own in steps if "checkout" in own.get("uses", "")]
        assert not [own for own in steps if "python" in own.get("run", "")]
    assert [jobs[name]["needs"] for name in ("attest", "publish", "page")] == [
        "build",
        "attest",
        "publish",
    ]
    assert jobs["publish"]["strategy"]["matrix"]["project"] == ["nstc-models", "nstc"]
    scripts = [own["run"] for job in jobs.values() for own in job["steps"] if "run" in own]
    assert not [own for own in scripts if "${{" in own]


def test_a_release_is_checked_before_it_is_built_and_run_before_it_is_published():
    jobs = yaml.safe_load((WORKFLOWS_FOLDER / "release.yml").read_text())["jobs"]
    scripts = "\n".join(own.get("run", "") for own in jobs["build"]["steps"])
    places = [
        scripts.index(own)
        for own in (
            "lab.release_check --tag",
            "lab.distributions dist",
            "twine check --strict",
            'pip install --quiet "$wheels"/nstc-',
            "nstc stylize",
            "nstc_models-",
        )
    ]
    assert places == sorted(places)


def test_inputs_reach_scripts_as_variables_alone():
    """What is pasted into a script would be run."""
    scripts = [step["run"] for step in yaml.safe_load(ACTION.read_text())["runs"]["steps"]]
    for job in example_jobs()["jobs"].values():
        scripts += [step["run"] for step in job["steps"] if "run" in step]
    assert len(scripts) == 4
    assert not [own for own in scripts if "${{" in own]


PROGRAM = """#!/usr/bin/env python3
import json, os, sys
arguments = sys.argv[1:]
json.dump(arguments, open(os.environ["ASKED"], "w"))
files = {name: arguments[arguments.index(name) + 1] for name in ("--markdown", "--json")}
if "broken" not in arguments:
    open(files["--markdown"], "w").write(os.environ["MARKDOWN"])
    json.dump({"verdict": "CHANGED"}, open(files["--json"], "w"))
sys.exit(int(os.environ["STATUS"]))
"""
MARKDOWN = "### nstc check: CHANGED\n\n| a |\n\n<details>\nall\n\n</details>\n"


class Action:
    """Runs steps of the action with programs of its own in the place of nstc and others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.program("nstc", PROGRAM)
        self.content = yaml.safe_load(ACTION.read_text())

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def run(self, step: str, path: str = os.environ["PATH"], **given: str):
        """Run a step; inputs by their variables."""
        [own] = [each for each in self.content["runs"]["steps"] if each["name"] == step]
        defaults = {
            name.upper().replace("-", "_"): each.get("default", "")
            for name, each in self.content["inputs"].items()
        }
        environment = {
            **{name: defaults[name] for name in own["env"]},
            "PATH": f"{self.programs}:{path}",
            "ASKED": str(self.folder / "asked.json"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
            "MARKDOWN": MARKDOWN,
            "STATUS": "76",
            **given,
        }
        return subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", own["run"]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    @property
    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.read("output").splitlines())


@pytest.fixture
def action(tmp_path):
    return Action(tmp_path)


def test_the_check_is_of_facts_quality_and_instructions(action):
    done = action.run("Check", BASELINE="b.json")
    assert done.returncode == 76, done.stderr
    reports = ["--markdown", "nstc-check/check.md", "--junit", "nstc-check/check.xml"]
    reports += ["--json", "nstc-check/check.json"]
    assert json.loads(action.read("asked.json")) == [
        "check",
        *reports,
        "--baseline",
        "b.json",
        "--",
    ]


def test_every_input_reaches_the_check(action):
    action.run(
        "Check",
        BASELINE="b.json",
        BUNDLES="one\ntwo words\n",
        BASE="old/one\n",
        PHOTOS="photos",
        TIME="true",
        MEASURE_QUALITY="true",
        STRICT="true",
        ROUNDS="9",
        FACTS_AND_QUALITY_ONLY="true",
    )
    asked = json.loads(action.read("asked.json"))
    assert asked[7:] == [
        *("--baseline", "b.json", "--base", "old/one", "--photos", "photos", "--time"),
        *("--facts-and-quality-only", "--measure-quality", "--strict"),
        *("--rounds", "9", "--", "one", "two words"),
    ]


def test_summary_comment_and_outputs(action):
    action.run("Check", BASELINE="b.json")
    assert action.read("summary.md") == MARKDOWN
    assert action.outputs == {"verdict": "CHANGED", "comment": "nstc-check/comment.md"}
    assert action.outputs.keys() == action.content["outputs"].keys()
    assert action.read("nstc-check/comment.md") == f"<!-- nstc check -->\n{MARKDOWN}"
    [used] = [job for name, job in example_jobs()["jobs"].items() if name == "comment"]
    assert any("<!-- nstc check -->" in step.get("run", "") for step in used["steps"])


def test_a_comment_is_no_longer_than_github_takes(action):
    filler = "x" * 1000 + "\n"
    action.run("Check", MARKDOWN=MARKDOWN.replace("all\n", filler * 70))
    comment = action.read("nstc-check/comment.md")
    assert comment == f"<!-- nstc check -->\n{MARKDOWN.partition('<details>')[0]}"
    action.run("Check", MARKDOWN=filler * 70)
    assert len(action.read("nstc-check/comment.md")) < 65_536


def test_a_check_that_fails_before_it_compares_is_told(action):
    (action.folder / "nstc-check").mkdir()
    (action.folder / "nstc-check" / "check.json").write_text('{"verdict": "PASS"}')  # of before
    done = action.run("Check", BUNDLES="broken", STATUS="60")
    assert done.returncode == 60
    assert action.outputs["verdict"] == "ERROR"
    for name in ("summary.md", "nstc-check/comment.md"):
        assert "Nothing was compared" in action.read(name)


@pytest.mark.parametrize(
    ("target", "there", "installed"),
    [("instructions", False, True), ("instructions", True, False), ("cpu:2", False, False)],
)
def test_valgrind_is_installed_where_it_is_needed_and_missing(action, target, there, installed):
    rows = {"rows": [{"target": target}]}
    (action.folder / "b.json").write_text(json.dumps(rows, indent=1))
    record = '#!/bin/sh\necho "$0 $@" >> installed\n'
    for name in ("apt-get", *(["valgrind"] if there else [])):
        action.program(name, record)
    action.program("sudo", '#!/bin/sh\nexec "$@"\n')
    for name in ("grep", "id"):
        (action.programs / name).symlink_to(f"/usr/bin/{name}")
    done = action.run("Install Valgrind", path="/bin/nowhere", BASELINE="b.json")
    assert done.returncode == 0, done.stderr
    told = action.read("installed") if (action.folder / "installed").exists() else ""
    assert ("install" in told and told.endswith(" valgrind\n")) == installed
