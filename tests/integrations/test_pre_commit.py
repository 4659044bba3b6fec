"""The hook of `.pre-commit-hooks.yaml`, run by pre-commit itself in a repository of bundles."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from whole_copies import whole_copy

from nstc.cli import main
from nstc.cli.app import VERBS
from nstc.core.bundle import open_bundle

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).resolve().parents[2]
[HOOK] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


def test_the_hook_names_a_verb_and_gets_every_file() -> None:
    program, verb, *flags = HOOK["entry"].split()
    assert (program, verb, flags) == ("nstc", "verify", ["--changed-files"])
    assert verb in VERBS
    assert HOOK["language"] == "python"
    assert not {"files", "exclude", "pass_filenames"} & HOOK.keys()  # bundles hold any names
    assert HOOK["require_serial"]
    assert (HOOK["types"], HOOK["types_or"]) == ([], ["file", "symlink"])


@pytest.mark.parametrize("option", ["--help", "--record", "--trust", "--json"])
def test_a_file_that_is_called_like_an_option_is_a_file(
    option, make_bundle, tmp_path, monkeypatch, capsys
) -> None:
    bundle = make_bundle(tmp_path / "mine")
    (tmp_path / option).write_text("mine")
    monkeypatch.chdir(tmp_path)
    arguments = [*HOOK["entry"].split(), *HOOK["args"], option, "mine/model.onnx"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 21  # of a bundle without check vectors, which none were written for
    assert capsys.readouterr().out.startswith("mine: ")
    assert open_bundle(bundle.path).manifest == bundle.manifest


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of pre-commit and git, which install the hook once and see nobody's settings."""
    home = tmp_path_factory.mktemp("home")
    people = {
        f"GIT_{who}_{what}": "a@b.invalid"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    own = {"HOME": str(home), "PRE_COMMIT_HOME": str(home / "hooks"), **people}
    return {**os.environ, **own, "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def repository(tmp_path: Path, environment: dict[str, str]) -> Run:
    """A repository with a bundle, and what runs programs in it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    whole_copy("zoo:udnie", folder / "models" / "mine")
    (folder / "notes.txt").write_text("mine\n")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )

    run("git", "init", "-q")
    run("git", "add", ".")
    run.folder = folder  # type: ignore[attr-defined]
    return run


@pytest.mark.integrations
@pytest.mark.skipif(
    importlib.util.find_spec("pre_commit") is None, reason="make test-integrations installs it"
)
def test_a_commit_of_a_damaged_bundle_is_refused(repository) -> None:
    hook = [sys.executable, "-m", "pre_commit", "try-repo", str(ROOT), HOOK["id"], "--verbose"]
    first = repository(*hook)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "models/mine: " in first.stdout
    assert " 0 failed" in first.stdout
    assert repository("git", "commit", "-q", "-m", "a bundle").returncode == 0

    (repository.folder / "notes.txt").write_text("other\n")
    repository("git", "add", ".")
    untouched = repository(*hook)
    assert untouched.returncode == 0, untouched.stdout
    assert "models/mine" not in untouched.stdout

    (repository.folder / "models" / "mine" / "model.onnx").write_bytes(b"other")
    repository("git", "add", ".")
    damaged = repository(*hook)
    assert damaged.returncode == 1
    assert "models/mine/model.onnx is damaged" in damaged.stdout
    assert "exit code: 21" in damaged.stdout
