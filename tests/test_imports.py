"""What each folder may load, seen from the source and from a fresh process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nstc.core
import nstc.runtime

RUNTIME = sorted(Path(nstc.runtime.__path__[0]).rglob("*.py"))
CORE = sorted(Path(nstc.core.__path__[0]).rglob("*.py"))
TRAINING = {"torch", "torchvision", "torch_pruning", "onnx", "onnxscript", "safetensors", "skimage"}
OF_RAY = {"ray", "pyarrow", "fsspec", "s3fs"}
RAY_MODULES = {"ray_cluster.py", "ray_batch.py", "ray_jobs.py"}
TORCH_BACKENDS = {"programs.py", "networks.py"}

LOAD_ALL = """
import importlib, pkgutil, sys
for name in {training!r}:
    sys.modules[name] = None  # as if it were not installed
for folder in ("nstc.core", "nstc.runtime"):
    package = importlib.import_module(folder)
    for module in pkgutil.walk_packages(package.__path__, folder + "."):
        importlib.import_module(module.name)
        print(module.name)
"""


def imported(tree: ast.AST, *, inside_functions: bool) -> set[str]:
    """Top-level names of what a module imports, leaving out what only type checkers read."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= imported(node, inside_functions=inside_functions)
    return found


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RUNTIME, ids=lambda p: p.name)
def test_the_runtime_imports_no_torch_at_module_level(path):
    assert not imported(parsed(path), inside_functions=False) & TRAINING


@pytest.mark.parametrize("path", RUNTIME, ids=lambda p: p.name)
def test_ray_is_imported_when_it_is_asked_for_by_three_modules(path):
    assert not imported(parsed(path), inside_functions=False) & OF_RAY
    is_one = path.name in RAY_MODULES
    assert ("ray" in imported(parsed(path), inside_functions=True)) is is_one


@pytest.mark.parametrize("path", RUNTIME, ids=lambda p: p.name)
def test_only_the_torch_made_backends_import_torch_at_all(path):
    allowed = {"torch"} if path.name in TORCH_BACKENDS else set()

    assert imported(parsed(path), inside_functions=True) & TRAINING <= allowed


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.name)
def test_the_core_imports_neither_torch_nor_onnx_runtime(path):
    assert not imported(parsed(path), inside_functions=True) & (TRAINING | {"onnxruntime"})


def test_core_and_runtime_load_where_no_extra_is_installed():
    ran = subprocess.run(
        [sys.executable, "-c", LOAD_ALL.format(training=sorted(TRAINING | OF_RAY))],
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    assert (
        len(ran.stdout.split()) == len(RUNTIME) + len(CORE) - 2
    )  # but for the two packages themselves


def test_an_import_is_seen_wherever_it_stands():
    source = """
import torch.nn
class A:
    import skimage
    def f(self):
        from onnx import helper
if TYPE_CHECKING:
    import safetensors
"""

    assert imported(ast.parse(source), inside_functions=False) == {"torch", "skimage"}
    assert imported(ast.parse(source), inside_functions=True) == {"torch", "skimage", "onnx"}
