import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

import nstc
from nstc.core import VERSION

PUBLIC = {
    "Bundle",
    "NstcError",
    "Stylizer",
    "__version__",
    "analyze",
    "bench",
    "build_zoo",
    "check",
    "compare",
    "compress_model",
    "distill",
    "export",
    "import_checkpoint",
    "load",
    "mask",
    "open_bundle",
    "optimize",
    "photos_in",
    "prune",
    "push",
    "quantize",
    "restyle",
    "search",
    "share",
    "train",
    "train_any",
}
VERBS = [
    "stylize",
    "optimize",
    "mask",
    "serve",
    "compress",
    "search",
    "restyle",
    "zoo",
    "train",
    "import",
    "distill",
    "share",
    "analyze",
    "prune",
    "quantize",
    "export",
    "pack",
    "push",
    "bench",
    "check",
    "baseline",
    "report",
    "verify",
    "models",
    "targets",
    "doctor",
    "web-setup",
]
HEAVY = {
    "numpy",
    "PIL",
    "onnxruntime",
    "torch",
    "torchvision",
    "torch_pruning",
    "onnx",
    "onnxscript",
    "safetensors",
    "skimage",
    "scipy",
    "starlette",
    "uvicorn",
    "websockets",
    "segno",
    "ray",
    "pyarrow",
    "fsspec",
    "optuna",
    "huggingface_hub",
    "httpx2",
}


def loaded_by(code: str, **environment: str) -> set[str]:
    """Top-level names of the modules that a fresh Python has loaded after some code."""
    return {name.partition(".")[0] for name in modules_loaded_by(code, **environment)}


def modules_loaded_by(code: str, **environment: str) -> set[str]:
    """Likewise, their whole names."""
    ending = "\nimport json, sys\nsys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code + ending],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stderr.splitlines()[-1]))


def run_cli(*arguments: str) -> str:
    """Code that runs `nstc` in this process and swallows its exit with 0."""
    return (
        "import sys\n"
        f"sys.argv = ['nstc', *{list(arguments)!r}]\n"
        "from nstc.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )


def statically_imported() -> dict[str, str]:
    """The names that `nstc/__init__.py` imports for type checkers, and from where."""
    tree = ast.parse(Path(nstc.__file__).read_text(encoding="utf-8"))
    (guarded,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.asname or alias.name: node.module or ""
        for node in guarded
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def takes_only_path_objects(hint) -> bool:
    """Whether some part of a type hint is `Path` where `str` will not do."""
    if hint is Path or typing.get_origin(hint) is Callable:
        return hint is Path
    parts = typing.get_args(hint)
    return any(
        takes_only_path_objects(part) for part in parts if part is not Path or str not in parts
    )


@pytest.mark.parametrize(
    "name", sorted(n for n in PUBLIC if inspect.isfunction(getattr(nstc, n, None)))
)
def test_whatever_takes_a_path_takes_its_name(name):
    hints = typing.get_type_hints(getattr(nstc, name))
    del hints["return"]
    assert [n for n, hint in hints.items() if takes_only_path_objects(hint)] == []


def test_paths_can_be_given_as_their_names(tmp_path):
    photo = nstc.photos_in(str(Path(nstc.__file__).parent / "core" / "samples")).paths[0]
    made = tmp_path / "map.png"
    nstc.mask(str(photo), str(made), regions=2)
    assert nstc.mask(str(photo), like=(str(made), str(photo))).colors
    with pytest.raises(nstc.NstcError, match=r"none\.jpg"):
        nstc.restyle(str(tmp_path / "none.jpg"), str(tmp_path / "out"), photos=nstc.photos_in([]))


def test_what_is_public_is_what_is_meant():
    assert set(nstc.__all__) == PUBLIC
    assert nstc.__all__ == sorted(nstc.__all__)
    assert dir(nstc) == sorted(PUBLIC)


def test_every_public_name_leads_home():
    for name in PUBLIC - {"__version__"}:
        value = getattr(nstc, name)
        assert value.__name__ == name
        assert value.__module__ == statically_imported()[name]


def test_type_checkers_and_python_find_the_same_names():
    assert statically_imported() == nstc._HOMES
    assert set(nstc._HOMES) == PUBLIC - {"__version__"}


def test_every_public_name_says_what_it_is():
    for name in PUBLIC - {"__version__"}:
        assert getattr(nstc, name).__doc__


def test_no_module_hides_a_verb():
    """`nstc.compress.distill` must be no module, lest `nstc.distill` be one after an import."""
    for home in set(nstc._HOMES.values()):
        importlib.import_module(home)

    assert all(callable(getattr(nstc, name)) for name in PUBLIC - {"__version__"})


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'nstc' has no attribute 'stylise'"):
        _ = nstc.stylise  # type: ignore[attr-defined]


def test_the_version():
    assert nstc.__version__ == VERSION


def test_import_nstc_is_light():
    loaded = loaded_by("import nstc")

    assert "nstc" in loaded
    assert not loaded & (HEAVY | {"typer", "rich", "click"})


def test_importing_each_folder_loads_nothing_heavy():
    code = "import nstc.models, nstc.compress, nstc.runtime, nstc.benchmarks, nstc.core"

    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_asking_for_help_or_the_version_is_light(argument):
    loaded = loaded_by(run_cli(argument))

    assert "typer" in loaded
    assert not loaded & HEAVY


def test_the_help_of_every_verb_is_light():
    code = "\n".join(run_cli(verb, "--help") for verb in VERBS)

    assert not loaded_by(code) & HEAVY


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_no_verb_is_imported_for_it(argument):
    loaded = modules_loaded_by(run_cli(argument))

    assert "nstc.cli.app" in loaded
    assert not {name for name in loaded if name.startswith(("nstc.cli.verbs.", "nstc.core.recipe"))}


def test_help_lists_every_verb():
    ran = subprocess.run([sys.executable, "-m", "nstc", "--help"], capture_output=True, text=True)

    commands = ran.stdout.partition("Stylise pictures:")[2].splitlines()
    assert [
        line.split()[0] for line in commands if line.startswith("  ") and line[2] != " "
    ] == VERBS


def test_python_m_nstc_gives_the_version():
    ran = subprocess.run(
        [sys.executable, "-m", "nstc", "--version"], capture_output=True, text=True
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"nstc {VERSION}\n", "")


def test_the_installed_command_is_the_same():
    command = Path(sys.executable).with_name("nstc")

    ran = subprocess.run([command, "--version"], capture_output=True, text=True)

    assert (ran.returncode, ran.stdout) == (0, f"nstc {VERSION}\n")


@pytest.mark.parametrize(("chosen", "expected"), [(None, "1"), ("0", "0")])
def test_onnx_runtime_reports_to_nobody_unless_the_user_wants_it(chosen, expected):
    others = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    given = {} if chosen is None else {"ORT_DISABLE_TELEMETRY": chosen}
    ran = subprocess.run(
        [sys.executable, "-c", "import nstc, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"],
        env=others | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == expected
