"""Which tests can see a change of a module: those of its name, and those that import it."""

import ast
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

MOST_TESTS: Final = 8  # test modules of one change; half of all import nstc.core.errors
_PACKAGE: Final = "nstc"
_TOP: Final = ("src", _PACKAGE)  # of what is not in a folder of its own


def module_of(path: str) -> str:
    """The name by which a file of the checkout is imported."""
    parts = PurePosixPath(path).with_suffix("").parts
    parts = parts[2:] if parts[:2] == _TOP else parts
    return ".".join((_PACKAGE, *(part for part in parts if part != "__init__")))


def chosen_tests(
    path: str, sources: Mapping[str, str], tests: Mapping[str, str], most: int = MOST_TESTS
) -> tuple[str, ...]:
    """The test modules that can see a change of a file, the nearest first, at most so many.

    First those of the module's own name in the folder that mirrors its own, then others there that
    import it, then those elsewhere; then others there that name what it defines. Behind them come
    those of the modules that import it, and of those that import them, in the same way. If no test
    imports it itself, those there that have its name as a word are last: verbs of the CLI are found
    by their names.

    Args:
        path: Of the file in the checkout.
        sources: Text of all modules by path, to follow imports.
        tests: Text of all test modules by path.
        most: How many.
    """
    found = dict.fromkeys(_own_tests(path, tests))
    words = [] if found else _tests_that_name((_name(path),), path, tests)
    found |= dict.fromkeys(_tests_that_name(_defined(sources[path]), path, tests))
    seen = [path]  # and what imports it, the nearest first; it grows
    for reached in seen:
        if len(found) >= most:
            break
        found |= dict.fromkeys(_own_tests(reached, tests))
        module, folder = module_of(reached), PurePosixPath(reached).parent
        importing = [own for own in sources if own not in seen and module in _imports(sources[own])]
        seen += sorted(importing, key=lambda own: PurePosixPath(own).parent != folder)
    return tuple(found | dict.fromkeys(words))[:most]


def _own_tests(path: str, tests: Mapping[str, str]) -> list[str]:
    """Those of a module's name, and those that import it."""
    module, near = module_of(path), _near(path, tests)
    own = re.compile(rf"test_{_name(path)}(_\w+)?\.py")
    named = [test for test in near if own.fullmatch(PurePosixPath(test).name)]
    importing = [test for test in sorted(tests) if module in _imports(tests[test])]
    return [*named, *sorted(importing, key=lambda test: test not in near)]


def _tests_that_name(words: Collection[str], path: str, tests: Mapping[str, str]) -> list[str]:
    """Those of a module's folder that have one of some words."""
    pattern = re.compile(rf"\b({'|'.join(words)})\b")
    return [test for test in _near(path, tests) if words and pattern.search(tests[test])]


def _defined(source: str) -> frozenset[str]:
    """Functions and classes of a module that other modules may import."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = {own.name for own in ast.parse(source).body if isinstance(own, kinds)}
    return frozenset(name for name in names if not name.startswith("_"))


def _name(path: str) -> str:
    """A module's own name, as a pattern."""
    return re.escape(module_of(path).rpartition(".")[2].rstrip("_"))


def _near(path: str, tests: Mapping[str, str]) -> list[str]:
    """The test modules of the folder that mirrors a file's, and of those in it."""
    folder = _mirrored(path, tests)
    return [test for test in sorted(tests) if PurePosixPath(test).is_relative_to(folder)]


def _mirrored(path: str, tests: Mapping[str, str]) -> str:
    """The nearest folder of tests that mirrors a file's, `tests` itself for that of none."""
    parts = module_of(path).split(".")[1:-1]
    folders = {str(PurePosixPath(test).parent) for test in tests}
    for length in range(len(parts), 0, -1):
        folder = "/".join(("tests", *parts[:length]))
        if folder in folders:
            return folder
    return "tests"


@functools.cache
def _imports(source: str) -> frozenset[str]:
    """What a module imports of nstc: modules, and names in them."""
    return frozenset(_named_in(ast.parse(source))) if _PACKAGE in source else frozenset()


def _named_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
