import shutil
import subprocess
import sys

import numpy as np
import pytest

from nstc.core.errors import ArtifactError, BundleError, MissingExtraError, OptionError
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import BACKENDS, cached_artifact, open_session


@pytest.mark.parametrize("artifact", ["int8", "int8.onnx", "float", "onnx"])
def test_a_bundle_is_opened_by_path_and_runs(bundle, artifact, pixels) -> None:
    session = open_session(bundle.path, artifact=artifact, threads=1)
    assert isinstance(session, OnnxSession)
    assert session.path.parent == bundle.path
    np.testing.assert_array_equal(session.run(pixels), 255 - pixels)


def test_the_default_is_the_int8_file(bundle) -> None:
    session = open_session(bundle)
    assert (session.artifact, session.path.name) == ("int8.onnx", "model.int8.onnx")


def test_run_is_its_three_steps(bundle, pixels) -> None:
    session = open_session(bundle)
    by_steps = session.finish(session.infer(session.prepare(pixels)))
    np.testing.assert_array_equal(by_steps, session.run(pixels))


def test_a_file_in_the_cache_is_opened(make_bundle, tmp_path, linear, pixels) -> None:
    bundle = make_bundle(tmp_path / "teacher", artifacts=[])
    cached = linear(cached_artifact(bundle, "float"), -1, 1)
    session = open_session(bundle, artifact="float")
    assert session.path == cached
    np.testing.assert_array_equal(session.run(pixels), 255 - pixels)


def test_a_missing_artifact_says_what_makes_it(make_bundle, tmp_path) -> None:
    bundle = make_bundle(tmp_path / "b", artifacts=["float"])
    with pytest.raises(ArtifactError, match=r"/b holds no artifact int8.*quantizing"):
        open_session(bundle)


def test_a_name_that_nothing_runs_is_refused(bundle) -> None:
    with pytest.raises(OptionError, match=r"artifact is in8: .*holds int8\.onnx, onnx"):
        open_session(bundle, artifact="in8")


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(bundle, threads) -> None:
    with pytest.raises(OptionError, match=f"threads is {threads}"):
        open_session(bundle, threads=threads)


def test_what_is_no_bundle_is_refused(tmp_path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_session(tmp_path / "nothing")


def test_a_backend_that_is_not_installed_says_what_to_install(bundle, monkeypatch) -> None:
    shutil.copy(bundle.path / "model.onnx", _parent_of(cached_artifact(bundle, "ts")))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "nstc\[compress\]"'):
        open_session(bundle, artifact="ts")


def test_every_backend_says_whether_it_can_run(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "executorch" or None)
    found = {name: backend.availability() for name, backend in BACKENDS.items()}
    assert [found.pop(name) for name in ("onnx", "ort", "tflite", "ts")] == [None] * 4
    assert found == {
        "pte": 'ExecuTorch programs need executorch: pip install "nstc[executorch]"',
    }


def test_running_a_bundle_loads_no_training_library(bundle, photo_path, tmp_path) -> None:
    program = (
        "import sys; from nstc.runtime.files.batch import stylize_files;"
        "from nstc.runtime.stylizer import Stylizer;"
        f"stylize_files([{str(photo_path)!r}], {str(tmp_path / 'out.png')!r},"
        f" Stylizer({str(bundle.path)!r}));"
        "print(sorted(sys.modules.keys() & {'torch', 'torchvision', 'onnx', 'safetensors'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def _parent_of(path):
    path.parent.mkdir(parents=True)
    return path
