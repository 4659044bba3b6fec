"""Answers of far machines: the true one, and everything that must not be believed."""

import base64
import json
import zlib

import numpy as np
import pytest

from nstc.benchmarks.targets.remote.remote_target import Listener, RemoteGraph, RemoteJob
from nstc.core import Silent
from nstc.core.errors import TargetError

ROUNDS = 3


class Told(Silent):
    def __init__(self):
        self.said = []

    def begin(self, what, total, done):
        self.said.append((what, total, done))

    def advance(self, done, values):
        self.said.append(done)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (8, 6, 3), dtype=np.uint8) for _ in range(2)]


@pytest.fixture
def job(tmp_path):
    graph = RemoteGraph(
        path=tmp_path / "any.onnx",
        feed=np.zeros(1),
        layout="NHWC",
        low=[0.0],
        high=[1.0],
        is_bgr=False,
        height=8,
        width=6,
    )
    return RemoteJob(
        graphs=(graph, graph),
        orders=((0, 1), (1, 0), (0, 1)),
        threads=1,
        token="00ff",
    )


@pytest.fixture
def speech(far_speech, pictures):
    return far_speech(pictures, ROUNDS)


@pytest.fixture
def hear(job):
    """The answer that some lines make."""

    def hear(lines, progress=None):
        listener = Listener("ssh://board", job, progress or Silent())
        for line in lines:
            listener.hear(line.replace("{token}", job.token))
        return listener.answer({"by": "ssh"})

    return hear


def test_a_true_answer_arrives_whole(hear, speech, pictures):
    told = Told()
    answer, read = hear(speech.lines(), told)
    assert answer.timings.reference_ms == (20.0, 20.0, 20.0)
    assert answer.timings.candidates_ms == ((10.0, 10.0, 10.0),)
    assert sorted(read) == [0, 1]
    for position, own in enumerate(pictures):
        np.testing.assert_array_equal(read[position], own)
    assert answer.place == {
        "by": "ssh",
        "runner": "python",
        "arch": "aarch64",
        "cpu": "Some Board",
        "os": "Linux 6.1",
        "python": "3.11.2",
        "numpy": "2.1.0",
        "onnxruntime": "1.22.0",
        "provider": "CPUExecutionProvider",
        "int8": "asimd+asimddp",
        "cores": 4,
        "pinned": 1,
    }
    [facts] = answer.rows
    assert facts.footprint is not None
    assert facts.footprint.peak_bytes == 60_000_000
    assert told.said == [("latency", 3, 0), 1, 2, 3]


def test_what_a_login_prints_is_passed_over(hear, speech):
    noise = ["Welcome to Board Linux!", "", "nstc-0000 result {}", 'result {"a": 1}']
    answer, _ = hear([*noise, *speech.lines(), *noise])
    assert answer.timings.reference_ms == (20.0, 20.0, 20.0)


def test_a_machine_that_does_not_tell_memory_has_none(hear, speech):
    speech.result["footprints"] = [None, None]
    answer, _ = hear(speech.lines())
    assert [facts.footprint for facts in answer.rows] == [None]


@pytest.mark.parametrize("kept", [0, 4, 11, 13])
def test_an_answer_that_breaks_off_says_after_how_much(hear, speech, kept):
    with pytest.raises(TargetError, match=rf"broke off after {min(kept, 11)} of 11 steps"):
        hear(speech.lines()[:kept])


def changed(*keys, to):
    def change(result):
        for key in keys[:-1]:
            result = result[key]
        result[keys[-1]] = to

    return change


LIES = {
    "not a number": changed("samples_ms", 0, 1, to=float("nan")),
    "endless": changed("samples_ms", 0, 1, to=float("inf")),
    "before it began": changed("samples_ms", 1, 0, to=-3.0),
    "no time at all": changed("samples_ms", 1, 0, to=0),
    "longer than a day": changed("samples_ms", 1, 0, to=9e7),
    "a word": changed("samples_ms", 1, 0, to="3.0"),
    "a truth": changed("samples_ms", 1, 0, to=True),
    "too few samples": changed("samples_ms", 0, to=[20.0, 20.0]),
    "too many samples": changed("samples_ms", 0, to=[20.0] * 4),
    "samples of one only": changed("samples_ms", to=[[20.0] * 3]),
    "samples of nobody": changed("samples_ms", to=None),
    "no machine": changed("machine", to=[]),
    "a processor that is no text": changed("machine", "cpu", to=5),
    "an empty architecture": changed("machine", "arch", to=" "),
    "instructions with blanks": changed("machine", "int8", to=["avx2 and more"]),
    "cores below none": changed("machine", "cores", to=-1),
    "cores in parts": changed("machine", "cores", to=1.5),
    "pinned to a word": changed("machine", "pinned", to=["all"]),
    "no provider": changed("provider", to=None),
    "a footprint too few": changed("footprints", to=[None]),
    "memory below none": changed("footprints", 1, "peak_bytes", to=-1),
    "a cold start before it began": changed("footprints", 1, "cold_start_ms", to=-1.0),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_refused(hear, speech, lie):
    lie(speech.result)
    with pytest.raises(TargetError, match=r"ssh://board: the answer makes no sense \("):
        hear(speech.lines())


@pytest.mark.parametrize("key", ["samples_ms", "machine", "provider", "footprints"])
def test_a_missing_part_is_refused(hear, speech, key):
    del speech.result[key]
    with pytest.raises(TargetError, match=f"makes no sense.*{key}"):
        hear(speech.lines())


RUBBISH = {
    "no JSON": "result {",
    "JSON of another kind": "result 5",
    "JSON that is nested too deep": f"result {'[' * 100_000}",
    "a picture of nobody": "picture 7 AAAA",
    "a picture without content": "picture 0",
    "a picture in another code": "picture 0 ÄÖÜ",
    "a picture that is not packed": f"picture 0 {base64.b64encode(b'abc').decode()}",
    "a smaller picture": f"picture 0 {base64.b64encode(zlib.compress(b'abc')).decode()}",
    "a picture that swells": f"picture 0 {base64.b64encode(zlib.compress(bytes(10**7))).decode()}",
    "another word": "hello there",
    "no word": "",
}


@pytest.mark.parametrize("words", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_refused(hear, words):
    with pytest.raises(TargetError, match="makes no sense"):
        hear([f"nstc-{{token}} {words}"])


def test_nothing_may_come_twice_or_too_often(hear, speech):
    lines = speech.lines()
    for again in (lines[-1], lines[-2], lines[0]):
        with pytest.raises(TargetError, match="makes no sense"):
            hear([*lines, again])


def test_what_is_shown_of_a_far_machine_is_one_printable_line(job):
    listener = Listener("ssh://board", job, Silent())
    listener.hear(f"nstc-{job.token} error {json.dumps('bad' + chr(27) + '[2J' + chr(10) + 'x')}")
    assert listener.error == "bad [2J x"


def test_the_true_answer_is_within_its_limit_of_size(job, speech):
    assert sum(len(line) + 20 for line in speech.lines()) < job.answer_bytes < 2_000_000
