"""Which tests can see a change of a module: those of its name, and those that import it."""

import ast
import functools
import re
from collections.abc import Iterator, Mapping
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
    import it, then those elsewhere. If there are none, those that see a module which imports it,
    and those there that have its name as a word: verbs of the CLI are found by their names.

    Args:
        path: Of the file in the checkout.
        sources: Text of all modules by path, to follow imports.
        tests: Text of all test modules by path.
        most: How many.
    """
    return _every_test(path, sources, tests, frozenset())[:most]


def _every_test(
    path: str, sources: Mapping[str, str], tests: Mapping[str, str], seen: frozenset[str]
) -> tuple[str, ...]:
    module, folder = module_of(path), _mirrored(path, tests)
    name = re.escape(module.rpartition(".")[2].rstrip("_"))
    own = re.compile(rf"test_{name}(_\w+)?\.py")
    near = [test for test in sorted(tests) if PurePosixPath(test).is_relative_to(folder)]
    named = [test for test in near if own.fullmatch(PurePosixPath(test).name)]
    importing = [test for test in sorted(tests) if module in _imports(tests[test])]
    importing.sort(key=lambda test: test not in near)
    found = [*named, *importing]
    if not found:
        seen |= {path}
        readers = [own for own in sources if own not in seen and module in _imports(sources[own])]
        found = [test for own in readers for test in _every_test(own, sources, tests, seen)]
        word = re.compile(rf"\b{name}\b")
        found += [test for test in near if word.search(tests[test])]
    return tuple(dict.fromkeys(found))


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
