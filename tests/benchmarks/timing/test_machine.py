import json
import os
import threading

import numpy as np
import pytest
from torch import nn

from nstc.benchmarks.timing import machine
from nstc.benchmarks.timing.machine import (
    Peaks,
    float_product,
    int8_product,
    machine_class,
    machine_facts,
    measure_peaks,
    pinned,
    roofline,
    same_hardware,
    usable_cores,
)
from nstc.models.architectures import count_moved_values

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


PEAKS = Peaks(threads=1, int8_gmac_s=200.0, float_gmac_s=50.0, bandwidth_gb_s=10.0)


def test_bytes_that_are_used_often_are_bound_by_arithmetic():
    # 1 GMAC over 20 MB is 50 for each byte: memory would allow 500 GMAC/s
    found = roofline(
        "int8.onnx",
        macs=10**9,
        moved_values=19_000_000,
        file_bytes=1_000_000,
        latency_ms=10.0,
        peaks=PEAKS,
    )
    assert found.intensity == 50.0
    assert (found.bound, found.attainable_gmac_s) == ("compute", 200.0)
    assert found.achieved_gmac_s == pytest.approx(100.0)
    assert found.share == pytest.approx(0.5)


def test_bytes_that_are_used_seldom_are_bound_by_memory():
    # floats are four bytes: 0.1 GMAC over 100 MB is 1 for each byte, so 10 GMAC/s
    found = roofline(
        "onnx",
        macs=10**8,
        moved_values=24_000_000,
        file_bytes=4_000_000,
        latency_ms=20.0,
        peaks=PEAKS,
    )
    assert (found.precision, found.bound) == ("float", "memory")
    assert found.attainable_gmac_s == pytest.approx(10.0)
    assert found.share == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("artifact", "precision", "bytes_a_value"),
    [
        ("int8.512x512.onnx", "int8", 1),
        ("dynamic.onnx", "int8", 4),
        ("fp16.onnx", "float", 2),
        ("weights-int8.onnx", "float", 4),
        ("onnx", "float", 4),
    ],
)
def test_the_precision_is_what_the_file_computes_in(artifact, precision, bytes_a_value):
    found = roofline(
        artifact, macs=8000, moved_values=1000, file_bytes=0, latency_ms=1.0, peaks=PEAKS
    )
    assert found.precision == precision
    assert found.intensity == 8 / bytes_a_value


def test_convolutions_move_their_inputs_and_outputs():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    # 3 * 16² + 8 * 8², then 8 * 8² + 3 * 8²
    assert count_moved_values(network, 16) == 768 + 512 + 512 + 192
    assert next(network.parameters()).device.type == "cpu"


def test_the_peaks_of_this_machine(monkeypatch):
    monkeypatch.setattr(machine, "MATRIX_SIDE", 256)
    monkeypatch.setattr(machine, "COPIED_BYTES", 4 * 1024 * 1024)
    monkeypatch.setattr(machine, "_TRIES", 2)
    peaks = measure_peaks((0,))
    assert peaks.threads == 1
    for value in (peaks.int8_gmac_s, peaks.float_gmac_s, peaks.bandwidth_gb_s):
        assert 0.1 < value < 10_000


def test_one_part_is_copied_by_the_thread_whose_time_is_taken(monkeypatch):
    copying = []
    monkeypatch.setattr(machine, "COPIED_BYTES", 1024)
    monkeypatch.setattr(np, "copyto", lambda *_: copying.append(threading.get_ident()))
    machine._copy(1)()
    assert copying == [threading.get_ident()]
    machine._copy(2)()
    assert len(copying) == 3
    assert threading.get_ident() not in copying[1:]


def test_the_products_are_what_they_are_said_to_be(monkeypatch):
    monkeypatch.setattr(machine, "MATRIX_SIDE", 64)
    (floats,) = float_product(1)()
    (bytes_,) = int8_product(1)()
    assert floats.shape == bytes_.shape == (64, 64)
    assert (floats.dtype, bytes_.dtype) == ("float32", "uint8")
    assert floats.std() > 1
    assert 0 < bytes_.std() < 100
