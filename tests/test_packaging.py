import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from nstc.core import VERSION
from nstc.core.extras import NOT_LISTED

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
MAPPED = {package: ROOT / folder for package, folder in SETUPTOOLS["package-dir"].items()}


def folder_of(package: str) -> Path:
    """Where a package's files lie, by the longest mapped name that it begins with."""
    home = max(
        (name for name in MAPPED if package == name or package.startswith(f"{name}.")), key=len
    )
    return MAPPED[home].joinpath(*package.removeprefix(home).strip(".").split("."))


def packages_in_the_tree() -> set[str]:
    found = set()
    for name, folder in MAPPED.items():
        for init in folder.rglob("__init__.py"):
            found.add(".".join([name, *init.parent.relative_to(folder).parts]))
    return found


def owned_files(package: str) -> set[Path]:
    """The files in a package's folder and below, but for those of the packages inside it."""
    inner = {folder_of(other) for other in packages_in_the_tree() - {package}}
    return {
        path
        for path in folder_of(package).rglob("*")
        if path.is_file()
        and not inner & set(path.parents) - set(folder_of(package).parents)
        and "__pycache__" not in path.parts
        and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def typetree(tmp_path_factory):
    """The tree of links that the checkers look at, made elsewhere."""
    spec = importlib.util.spec_from_file_location("typetree", ROOT / "lab" / "typetree.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.TREE = tmp_path_factory.mktemp("links") / "typetree"
    script.main()
    script.main()  # also where there is one already
    return script.TREE


def test_the_list_of_packages_is_the_tree():
    assert set(SETUPTOOLS["packages"]) == packages_in_the_tree()
    assert len(SETUPTOOLS["packages"]) == len(set(SETUPTOOLS["packages"]))


def test_every_folder_with_code_is_a_package():
    for package in SETUPTOOLS["packages"]:
        for path in folder_of(package).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path} is in no package"


@pytest.mark.parametrize("package", SETUPTOOLS["packages"])
def test_every_file_that_is_no_code_is_shipped(package):
    patterns = SETUPTOOLS["package-data"].get(package, [])
    shipped = {path for pattern in patterns for path in folder_of(package).glob(pattern)}

    data = {path for path in owned_files(package) if path.suffix != ".py"}

    assert {str(p.relative_to(ROOT)) for p in data - shipped} == set()


@pytest.mark.parametrize(
    ("package", "pattern"),
    [
        (package, pattern)
        for package, found in SETUPTOOLS["package-data"].items()
        for pattern in found
    ],
)
def test_every_pattern_of_data_finds_some(package, pattern):
    assert any(folder_of(package).glob(pattern))


def test_the_typing_marker_the_presets_and_the_features_ship():
    patterns = SETUPTOOLS["package-data"]
    shipped = {
        f"{package}/{path.relative_to(folder_of(package)).as_posix()}"
        for package, found in patterns.items()
        for pattern in found
        for path in folder_of(package).glob(pattern)
    }

    assert {
        "nstc/py.typed",
        "nstc.core/presets/quick.toml",
        "nstc.core/presets/full.toml",
        "nstc.core/presets/restyle.toml",
        "nstc.core/presets/restyle-quick.toml",
        "nstc.core/samples/LICENSES.md",
        "nstc.models/data/vgg16_features_relu4_3_fp16.safetensors",
        "nstc.models/data/LICENSE-VGG16.md",
    } <= shipped


def test_the_package_is_installed_at_the_version_of_the_code():
    assert metadata.version("nstc") == VERSION


@pytest.mark.parametrize(
    "name",
    ["CITATION.cff", "release/conda-forge/recipe.yaml", "release/nstc-models/pyproject.toml"],
)
def test_the_version_has_one_place(name):
    """What a release writes there comes from the code."""
    versions = re.findall(r"^\s*version\W+([\w.]+)", (ROOT / name).read_text("utf-8"), re.M)
    assert set(versions) <= {"version", "0.0.0"}
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "nstc.core.VERSION"}


def test_the_licences_are_where_the_project_says():
    for name in PROJECT["project"]["license-files"]:
        assert (ROOT / name).is_file()
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_devices_install_needs_no_torch():
    names = {re.split(r"[<>=\[ ]", line)[0] for line in PROJECT["project"]["dependencies"]}

    device = {"numpy", "pillow", "onnxruntime", "typer", "rich", "platformdirs"}
    assert names == device | {"filelock", "msgspec", "packaging"}


def test_all_is_every_extra_but_those_that_are_installed_apart():
    extras = PROJECT["project"]["optional-dependencies"]
    [whole] = extras["all"]

    named = re.fullmatch(r"nstc\[([a-z,]+)\]", whole)[1].split(",")
    left_out = {"all", "dev", "litert"}  # nstc's own tests; it wants an old typing-extensions
    assert named == sorted(extras.keys() - left_out)
    assert not [name for name in named if re.search(r"\blitert\b", str(extras[name]))]
    assert sorted(NOT_LISTED) == ["all", "dev"]


def test_every_package_is_in_the_tree_of_links(typetree):
    for package in SETUPTOOLS["packages"]:
        linked = typetree.joinpath(*package.split("."))
        assert (linked / "__init__.py").resolve() == (folder_of(package) / "__init__.py").resolve()
    assert (typetree / "nstc" / "py.typed").is_file()


def test_dependencies_point_one_way(typetree):
    """The contracts of import-linter, which `make imports` runs too."""
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
            "--no-cache",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(typetree)},
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


LAYERS = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]


def ruled_by(contract):
    """The names in a contract's layers."""
    return {name.strip() for layer in contract["layers"] for name in layer.split("|")}


def test_every_folder_is_under_the_rule_of_dependencies():
    (whole,) = (c for c in LAYERS if "containers" not in c)

    assert ruled_by(whole) == {name for name in SETUPTOOLS["packages"] if name.count(".") == 1}


@pytest.mark.parametrize("folder", ["nstc.compress", "nstc.benchmarks"])
def test_every_room_stands_on_a_floor(folder):
    (floors,) = (c for c in LAYERS if c.get("containers") == [folder])
    rooms = {name for name in SETUPTOOLS["packages"] if re.fullmatch(rf"{folder}\.\w+", name)}

    assert rooms <= {f"{folder}.{name}" for name in ruled_by(floors)}


def test_the_bare_names_of_the_folders_are_banned():
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]

    assert {folder.name for package, folder in MAPPED.items() if package != "nstc"} <= set(banned)


def test_every_sample_photograph_has_a_licence():
    samples = folder_of("nstc.core") / "samples"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (samples / "LICENSES.md").read_text(encoding="utf-8").splitlines()
        if ".jpg" in line and line.startswith("|")
    ]

    assert [row[0] for row in rows] == sorted(path.name for path in samples.glob("*.jpg"))
    for name, what, licence in rows:
        assert what, name
        assert re.search(r"CC0|public domain|no known copyright", licence), name
