"""Processes that open a link, with stand-ins for node."""

import os
import time
from pathlib import Path

import pytest

from nstc.benchmarks.targets.web import setup
from nstc.runtime.serving.site import BENCH_JOB
from nstc.runtime.serving.web_runtime import WebRuntime

RUNTIME = WebRuntime(Path("installed"))


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Writes shell scripts that are found as node and chromium, and as nothing else."""
    tools = tmp_path / "bin"
    tools.mkdir()

    def write(script: str, name: str = "node") -> None:
        (tools / name).write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        (tools / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:/bin:/usr/bin")

    return write


def wait_until(happened):
    for _ in range(5000):
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def once(ended):
    wait_until(lambda: ended() is not None)
    return ended()


def test_the_link_is_in_the_environment_not_on_the_command_line(node, tmp_path):
    node(f'echo "$NSTC_LINK" > {tmp_path}/link; echo "$@" > {tmp_path}/arguments')
    with setup.in_node(RUNTIME, "http://127.0.0.1:1/token/"):
        pass
    assert (tmp_path / "link").read_text().strip() == "http://127.0.0.1:1/token/"
    assert "token" not in (tmp_path / "arguments").read_text()


def test_node_gets_the_runtime_and_the_job_of_the_page(node, tmp_path):
    node(f'echo "$@" > {tmp_path}/arguments')
    with setup.in_node(RUNTIME, "link"):
        pass
    _script, *modules = (tmp_path / "arguments").read_text().split()
    assert modules == [str(RUNTIME.node_module), str(BENCH_JOB)]
    assert BENCH_JOB.is_file()


def test_the_last_words_of_a_process_that_ended(node):
    node("echo 'TypeError: no such thing' >&2; echo '    at place' >&2; exit 3")
    with setup.in_node(RUNTIME, "link") as ended:
        assert once(ended) == "node ended with status 3: TypeError: no such thing"
    node("echo '[err] FATAL: path too long' >&2; echo 'Node.js v20' >&2; exit 1")
    with setup.in_node(RUNTIME, "link") as ended:
        assert once(ended) == "node ended with status 1: [err] FATAL: path too long"
    node("exit 0")
    with setup.in_node(RUNTIME, "link") as ended:
        assert once(ended).endswith("status 0: it said nothing")


def test_nothing_is_left(node, tmp_path, monkeypatch):
    """Neither its children nor its files, though the run failed in the middle."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    node(f'sleep 60 & echo $! > {tmp_path}/child; touch "$TMPDIR/rest" {tmp_path}/started; wait')
    node("", "chromium")

    def fail_midway():
        with setup.in_chromium(RUNTIME, "link") as ended:
            assert ended() is None
            wait_until((tmp_path / "started").exists)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_midway()
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    wait_until(lambda: not child.exists() or child.read_text().split()[2] == "Z")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "child", "started"]


def test_a_browser_gets_an_empty_profile_and_no_proxy(node, tmp_path):
    node(f'echo "$@" > {tmp_path}/arguments')
    node("", "chromium")
    with setup.in_chromium(RUNTIME, "link"):
        pass
    said = (tmp_path / "arguments").read_text().split()
    assert said[2] == str(tmp_path / "bin" / "chromium")
    assert said[3].endswith("/profile")
    assert "--no-proxy-server" in said
    assert ("--no-sandbox" in said) == (os.geteuid() == 0)


def test_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install nodejs" in (setup.missing_node() or "")
    assert "apt install chromium" in (setup.missing_chromium() or "")
    (tmp_path / "chromium").touch(mode=0o755)
    assert "apt install nodejs" in (setup.missing_chromium() or "")
    (tmp_path / "node").touch(mode=0o755)
    assert setup.missing_chromium() is None
