"""The C++ program, compiled as the page says, with the library that Python's ONNX Runtime brings.

Headers: Debian's libonnxruntime-dev, or a folder that NSTC_ONNXRUNTIME_INCLUDE names.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

pytestmark = pytest.mark.deploy

SOURCE = Path(__file__).resolve().parents[2] / "docs" / "deploy" / "cpp" / "stylize.cpp"
HEADER = "onnxruntime_cxx_api.h"
INCLUDE = Path(os.environ.get("NSTC_ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("not built: apt install g++")
    if not (INCLUDE / HEADER).is_file():
        pytest.skip("not built: apt install libonnxruntime-dev, or set NSTC_ONNXRUNTIME_INCLUDE")
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"), None)
    if library is None:
        pytest.skip("not built: this onnxruntime wheel brings no library of its own")
    folder = tmp_path_factory.mktemp("cpp")
    # under the name that its programs ask for, and the one that -l looks for
    for name in (library.name, "libonnxruntime.so.1", "libonnxruntime.so"):
        (folder / name).symlink_to(library)
    out = folder / "stylize"
    flags = ["-std=c++17", "-Wall", "-Wextra", f"-isystem{INCLUDE}", f"-L{folder}"]
    build = ["g++", *flags, str(SOURCE), "-lonnxruntime", f"-Wl,-rpath,{folder}", "-o", str(out)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return out


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_it_paints_what_python_paints(program, model, photo, expected, tmp_path) -> None:
    Image.fromarray(photo).save(tmp_path / "in.ppm")
    done = run(program, model, tmp_path / "in.ppm", tmp_path / "out.ppm")
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "out.ppm") as painted:
        np.testing.assert_array_equal(np.asarray(painted), expected)


@pytest.mark.parametrize("content", [b"", b"P6\n4 4\n255\nabc", b"P6\n-1 99999999\n255\n"])
def test_what_is_no_picture_is_refused(program, model, tmp_path, content) -> None:
    (tmp_path / "in.ppm").write_bytes(content)
    done = run(program, model, tmp_path / "in.ppm", tmp_path / "out.ppm")
    assert done.returncode == 1
    assert done.stderr.startswith("stylize: ")
    assert not (tmp_path / "out.ppm").exists()
