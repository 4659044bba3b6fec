import ctypes
import json
import subprocess
import sys

import pytest

from nstc.benchmarks.targets import cpu as cpu_target
from nstc.core import extras


def test_every_target_with_its_availability(nstc) -> None:
    done = nstc("targets")
    assert done.code == 0, done.err
    rows = [line.split()[:2] for line in done.out.splitlines()[2:] if not line.startswith(" ")]
    assert rows[:2] == [["cpu[:N]", "yes"], ["mobile", "yes"]]


def test_json_says_why_one_is_not_there(nstc, monkeypatch) -> None:
    monkeypatch.setattr(cpu_target, "tells_peak_memory", lambda: False)
    cpu, mobile, *_ = json.loads(nstc("targets", "--json").out)
    assert (cpu["available"], cpu["reason"]) == (True, None)
    assert (mobile["target"], mobile["available"]) == ("mobile", False)
    assert "peak memory" in mobile["reason"]


def test_one_whose_extra_is_not_installed_says_what_to_install(nstc, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "executorch" or None)
    found = {kind["target"]: kind for kind in json.loads(nstc("targets", "--json").out)}
    assert found["torchscript[:N]"]["available"] is True
    assert found["executorch"]["available"] is False
    assert 'pip install "nstc[executorch]"' in found["executorch"]["reason"]
    assert "this machine" in found["executorch"]["summary"]


def test_browsers_without_a_server_for_their_page(nstc, monkeypatch) -> None:
    def version(package: str) -> str:
        if package == "uvicorn":
            raise extras.metadata.PackageNotFoundError
        return "999"

    monkeypatch.setattr(extras.metadata, "version", version)
    found = {kind["target"]: kind["reason"] for kind in json.loads(nstc("targets", "--json").out)}
    told = [reason for target, reason in found.items() if target.startswith("web")]
    assert len(told) == 5
    assert all(own.startswith("its server needs uvicorn>=") for own in told)
    assert all(own.endswith('pip install "nstc[serve]"') for own in told)
    done = nstc("bench", "zoo:udnie", "--target", "web", "--no-quality")
    assert done.code == 3
    assert done.error == f"nstc: target web can't run here: {told[0]}."
    listed = json.loads(nstc("doctor", "--json").out)["extras"]
    assert next(own for own in listed if own["extra"] == "serve")["missing"][0] in told[0]


def test_the_line_that_mends_it_is_whole_where_the_table_is_narrow(nstc, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = nstc("targets").out.split()
    assert {"web:open-https[:N]", "nstc", "web-setup"} <= set(words)
    assert not [word for word in words if "…" in word]


def has_nvidias_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_nvidias_driver(), reason="with an NVIDIA driver torch has the last word")
def test_listing_them_loads_no_training_library() -> None:
    program = (
        "import contextlib, io, json, sys; from nstc.cli.verbs.inventory.targets import targets\n"
        "with contextlib.redirect_stdout(io.StringIO()): targets(json_output=True)\n"
        "print(json.dumps(sorted({'torch', 'torchvision', 'onnx', 'executorch'} & {*sys.modules})))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr
