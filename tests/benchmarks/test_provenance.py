import subprocess
from datetime import UTC, datetime

import pytest

from nstc.benchmarks.provenance import taken_now


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "student").write_text("weights")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "A student")
    return folder


def test_the_commit_is_named_and_whether_files_differ_from_it(repository):
    taken = taken_now(repository)
    assert taken["commit"] == git(repository, "rev-parse", "HEAD")
    assert datetime.fromisoformat(str(taken["commit_date"])).tzinfo is not None
    assert taken["modified"] is False
    (repository / "notes").write_text("nobody tracks this")
    assert taken_now(repository)["modified"] is False
    (repository / "student").write_text("other weights")
    assert taken_now(repository)["modified"] is True


def test_outside_a_repository_there_is_only_the_date(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    before = datetime.now(UTC).replace(microsecond=0)
    taken = taken_now(tmp_path)
    assert set(taken) == {"date"}
    assert before <= datetime.fromisoformat(str(taken["date"])) <= datetime.now(UTC)


def test_a_repository_without_commits_and_a_machine_without_git(tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet")
    assert set(taken_now(tmp_path)) == {"date"}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set(taken_now(tmp_path)) == {"date"}
