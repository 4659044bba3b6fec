"""ncnn on cores of this machine, which runs what its converter pnnx makes of float files."""

import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.targets.portable_target import Floats, portable_kind
from nstc.core.files import scratch_folder

_PARTS: Final = ("model.ncnn.param", "model.ncnn.bin")
_LONGEST_S: Final = 600
# Each would round: a picture is to be compared with other runtimes'.
_ROUNDS: Final = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


def load(path: Path, threads: int) -> Callable[[Floats], Floats]:
    """A file as ncnn opens it for each size of pictures; an error of the two where they can't."""
    import ncnn

    networks: dict[tuple[int, ...], Any] = {}

    def run(picture: Floats) -> Floats:
        if picture.shape not in networks:
            networks[picture.shape] = _network(path, picture.shape, threads)
        with networks[picture.shape].create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(picture, batch_index=0).clone())
            code, output = extractor.extract("out0")
            if code:
                raise RuntimeError(f"extracting the picture gave the code {code}")
            made: Floats = output.numpy(batch_index=0).copy()
        return made

    return run


def _network(path: Path, shape: tuple[int, ...], threads: int) -> Any:
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = threads
    for option in _ROUNDS:
        setattr(network.opt, option, False)
    with scratch_folder() as folder:
        for name, content in zip(_PARTS, _converted(path, shape), strict=True):
            (folder / name).write_bytes(content)
        param, weights = (str(folder / name) for name in _PARTS)
        if network.load_param(param) or network.load_model(weights):
            raise RuntimeError("it can't load what pnnx made of it")
    return network


@functools.lru_cache(maxsize=16)  # a session is opened anew for each turn
def _converted(path: Path, shape: tuple[int, ...]) -> tuple[bytes, ...]:
    """What pnnx makes of a file, nothing of which is kept: the graph and its weights."""
    import pnnx

    with scratch_folder() as folder:
        shutil.copyfile(path, folder / "model.onnx")  # it writes beside what it reads
        sizes = f"inputshape=[{','.join(map(str, shape))}]"
        ran = subprocess.run(  # noqa: S603
            [pnnx.EXEC_PATH, "model.onnx", sizes, "fp16=0"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
        made = [folder / name for name in _PARTS]
        if ran.returncode or not all(part.is_file() for part in made):
            told = (ran.stderr.strip() or ran.stdout.strip() or "nothing").splitlines()[-1]
            raise RuntimeError(f"pnnx ended with code {ran.returncode} and said: {told}")
        return tuple(part.read_bytes() for part in made)


NCNN: Final = portable_kind(
    "ncnn",
    "ncnn",
    load,
    packages=("ncnn", "pnnx"),
    needs="ncnn and its converter",
    install="ncnn",
    summary="ncnn, the portable float file through pnnx, N threads on N cores; all without N",
    runs_integers=False,
)
