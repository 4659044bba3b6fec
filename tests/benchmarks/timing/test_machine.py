import json
import os
import threading

import pytest

from nstc.benchmarks.timing.machine import (
    machine_class,
    machine_facts,
    pinned,
    same_hardware,
    usable_cores,
)

X86 = """processor\t: 0
model name\t: Some CPU @ 3.00GHz
flags\t\t: fpu sse2 avx2 avx512bw avx512_vnni avx_vnni

processor\t: 1
model name\t: Another CPU
flags\t\t: fpu
"""

ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd aes asimddp
CPU part\t: 0xd0b
"""


def test_x86_facts_are_those_of_the_first_processor(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(X86)
    facts = machine_facts(cpuinfo)
    assert facts["cpu"] == "Some CPU @ 3.00GHz"
    assert facts["int8"] == ["avx2", "avx512bw", "avx512_vnni", "avx_vnni"]


def test_arm_calls_its_instructions_features(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(ARM)
    assert machine_facts(cpuinfo)["int8"] == ["asimd", "asimddp"]


def test_a_system_without_cpuinfo_has_facts_all_the_same(tmp_path):
    facts = machine_facts(tmp_path / "missing")
    assert facts["int8"] == []
    assert facts["cpu"]
    assert facts["cores"] == len(usable_cores()) >= 1
    assert {"python", "nstc", "onnxruntime"} <= set(facts["tools"])
    assert json.loads(json.dumps(facts)) == facts


def test_cores_without_an_affinity_call(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores() == (0, 1, 2)


def test_machines_of_one_class_share_instructions_and_runtime():
    facts = {"arch": "x86_64", "int8": ["avx2", "avx_vnni"], "tools": {"onnxruntime": "1.31.0"}}
    assert machine_class(facts) == "x86_64/avx2+avx_vnni/onnxruntime-1.31.0"
    assert machine_class({"arch": "arm64", "int8": [], "tools": {}}) == (
        "arm64/no-int8/onnxruntime-unknown"
    )
    newer = machine_class({**facts, "tools": {"onnxruntime": "1.32.0"}})
    assert newer != machine_class(facts)
    assert machine_class(facts, {"provider": "CPUExecutionProvider", "threads": 1}) == (
        machine_class(facts)
    )
    assert same_hardware(newer, machine_class(facts))
    assert not same_hardware(newer, machine_class({**facts, "int8": ["avx2"]}))


def test_the_class_of_a_row_is_of_what_ran_it():
    facts = {"arch": "x86_64", "int8": ["avx2"], "tools": {"onnxruntime": "1.31.0"}}

    def name(**place) -> str:
        return machine_class(facts, place)

    here = {"runtime": "executorch 1.5.0", "device": "this machine, not a phone"}
    assert name(**here) == "x86_64/avx2/executorch-1.5.0"
    assert name(runtime="onnxruntime-web 1.23.0", browser="Node/22", device="this machine") == (
        "x86_64/avx2/onnxruntime-web-1.23.0-Node-22"
    )
    phone = {"arch": "aarch64", "int8": "asimd+asimddp", "onnxruntime": "1.22.0"}
    assert name(**phone, device="Pixel 99") == ("aarch64/asimd+asimddp/onnxruntime-1.22.0-Pixel-99")
    assert same_hardware(name(**here), name(runtime="executorch 1.6.0"))


needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system pins no threads"
)


@needs_affinity
def test_pinning_holds_new_threads_and_ends_with_the_block():
    before = os.sched_getaffinity(0)
    core = min(before)
    seen = []
    with pinned([core]):
        thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join()
    assert seen == [{core}]
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_pinning_ends_after_an_error_too():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), pinned([min(before)]):
        raise KeyError
    assert os.sched_getaffinity(0) == before


def test_without_an_affinity_call_nothing_is_pinned(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pinned([0]):
        pass
