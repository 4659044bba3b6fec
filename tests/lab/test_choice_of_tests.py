"""Which tests see a module, of a checkout of a few lines."""

import pytest
from lab.choice_of_tests import chosen_tests, module_of

SOURCES = {
    "compress/graphs/edges.py": "import onnx",
    "compress/graphs/corners.py": "from nstc.compress.graphs import edges",
    "runtime/live.py": "from nstc.runtime.frames import Frame",
    "runtime/frames.py": "",
    "src/nstc/core/files/locks.py": "",
    "src/nstc/cli/verbs/pictures/import_.py": "",
}
TESTS = {
    "tests/cli/test_bad_input.py": "def test_import(nstc): nstc('import')",
    "tests/cli/test_other.py": "important = 1",
    "tests/compress/graphs/test_edges.py": "",
    "tests/compress/graphs/test_edges_of_few.py": "",
    "tests/compress/graphs/test_corners.py": "from nstc.compress.graphs.edges import Edge",
    "tests/benchmarks/test_bench.py": "import nstc.compress.graphs.edges",
    "tests/runtime/test_live.py": "",
    "tests/core/test_bundle.py": "from nstc.core.files.locks import locked",
}


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("compress/graphs/edges.py", "nstc.compress.graphs.edges"),
        ("src/nstc/core/files/__init__.py", "nstc.core.files"),
        ("src/nstc/__init__.py", "nstc"),
    ],
)
def test_a_file_is_imported_by_a_name(path: str, module: str) -> None:
    assert module_of(path) == module


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        (  # of its name, then there, then elsewhere
            "compress/graphs/edges.py",
            [
                "compress/graphs/test_edges",
                "compress/graphs/test_edges_of_few",
                "compress/graphs/test_corners",
                "benchmarks/test_bench",
            ],
        ),
        ("src/nstc/core/files/locks.py", ["core/test_bundle"]),
        ("runtime/frames.py", ["runtime/test_live"]),  # through what imports it
        ("src/nstc/cli/verbs/pictures/import_.py", ["cli/test_bad_input"]),  # by its name
    ],
)
def test_the_nearest_tests_come_first(path: str, tests: list[str]) -> None:
    assert chosen_tests(path, SOURCES, TESTS) == tuple(f"tests/{name}.py" for name in tests)


def test_there_are_at_most_so_many() -> None:
    assert len(chosen_tests("compress/graphs/edges.py", SOURCES, TESTS, most=2)) == 2
