"""The figures of the house, beside the limits that it keeps: `python -m lab.house`.

Counts what the product's own Python files (`git ls-files '*.py'` without `tests` and `lab`) are
made of, so that its growth is a decision: lines, modules a folder, long modules and functions, the
share of imports and of private definitions, and names that stand for two things.
"""

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
OUTSIDE: Final = ("tests/", "lab/")
MOST_LINES: Final = 57_550
MOST_MODULES_IN_A_FOLDER: Final = 20
MOST_LINES_IN_A_MODULE: Final = 400
MOST_LINES_IN_A_FUNCTION: Final = 60
MOST_IMPORT_LINES_PERCENT: Final = 6.5
MOST_PRIVATE_PERCENT: Final = 25.0
# A verb's file bears the verb's name, whatever else is called so.
VERBS: Final = "src/nstc/cli/verbs/"

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class House:
    """What was counted; paths are relative to the checkout."""

    modules: dict[str, int] = field(default_factory=dict)
    """Lines of each module."""
    long_functions: dict[str, int] = field(default_factory=dict)
    """Lines of each function past the limit, by `path:name`."""
    import_lines: int = 0
    definitions: int = 0
    private_definitions: int = 0
    types: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Where each public type is defined."""

    @property
    def lines(self) -> int:
        """Of all modules."""
        return sum(self.modules.values())

    @property
    def import_lines_percent(self) -> float:
        """Share of all lines."""
        return 100 * self.import_lines / self.lines

    @property
    def private_percent(self) -> float:
        """Share of functions, methods and classes whose name starts with one underscore."""
        return 100 * self.private_definitions / self.definitions

    @property
    def modules_in_folders(self) -> Counter[str]:
        """Modules directly in each folder, `__init__` left out."""
        return Counter(str(Path(path).parent) for path in self.modules if _names_a_subject(path))

    @property
    def shared_module_names(self) -> dict[str, list[str]]:
        """Names that several modules have, verbs of the CLI left out."""
        places: dict[str, list[str]] = defaultdict(list)
        for path in self.modules:
            if _names_a_subject(path) and not path.startswith(VERBS):
                places[Path(path).name].append(path)
        return {name: paths for name, paths in places.items() if len(paths) > 1}

    @property
    def shared_type_names(self) -> dict[str, list[str]]:
        """Public types that are defined in several modules."""
        return {name: paths for name, paths in self.types.items() if len(paths) > 1}


def counted(files: Mapping[str, str]) -> House:
    """Count the house that these sources make.

    Args:
        files: text of each module by its path in the checkout.
    """
    house = House()
    for path, text in files.items():
        house.modules[path] = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            _count(node, path, house)
    return house


def _count(node: ast.AST, path: str, house: House) -> None:
    """Add one node of a module."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        house.import_lines += _lines(node)
    if not isinstance(node, _Definition):
        return
    private = node.name.startswith("_") and not node.name.startswith("__")
    house.definitions += 1
    house.private_definitions += private
    if isinstance(node, ast.ClassDef):
        if not private:
            house.types[node.name].append(path)
    elif _lines(node) > MOST_LINES_IN_A_FUNCTION:
        house.long_functions[f"{path}:{node.name}"] = _lines(node)


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _names_a_subject(path: str) -> bool:
    return not Path(path).name.startswith("__")


def beyond_the_limits(house: House) -> Iterator[str]:
    """A sentence for each limit that is not kept."""
    if house.lines > MOST_LINES:
        yield f"{house.lines:,} lines of source; at most {MOST_LINES:,}"
    for folder, count in sorted(house.modules_in_folders.items()):
        if count > MOST_MODULES_IN_A_FOLDER:
            yield f"{folder}: {count} modules; at most {MOST_MODULES_IN_A_FOLDER}"
    for path, lines in house.modules.items():
        if lines > MOST_LINES_IN_A_MODULE:
            yield f"{path}: {lines} lines; at most {MOST_LINES_IN_A_MODULE}"
    for function, lines in house.long_functions.items():
        yield f"{function}: {lines} lines; at most {MOST_LINES_IN_A_FUNCTION}"
    imports, private = house.import_lines_percent, house.private_percent
    if imports > MOST_IMPORT_LINES_PERCENT:
        yield f"{imports:.1f} % import lines; at most {MOST_IMPORT_LINES_PERCENT} %"
    if private > MOST_PRIVATE_PERCENT:
        yield f"{private:.0f} % private definitions; at most {MOST_PRIVATE_PERCENT:.0f} %"
    for name, paths in {**house.shared_module_names, **house.shared_type_names}.items():
        yield f"{name} is in {', '.join(paths)}; one name stands for one subject"


def sources(root: Path = ROOT) -> dict[str, str]:
    """The product's own modules that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"],  # noqa: S607
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {
        path: (root / path).read_text(encoding="utf-8")
        for path in listed.splitlines()
        if not path.startswith(OUTSIDE)
    }


def main() -> int:
    """Print the figures, then what is beyond a limit; 1 if anything is."""
    house = counted(sources())
    print(f"{len(house.modules)} modules, {house.lines:,} lines")
    print(f"longest module: {max(house.modules.values())} lines")
    print(f"import lines: {house.import_lines_percent:.1f} %")
    print(f"private definitions: {house.private_percent:.0f} % of {house.definitions:,}")
    for folder, count in sorted(house.modules_in_folders.items()):
        print(f"{count:4d}  {folder}")
    broken = list(beyond_the_limits(house))
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
