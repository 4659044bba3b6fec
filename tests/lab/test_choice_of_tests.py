"""Which tests see a module, of a checkout of a few lines."""

import pytest
from lab.choice_of_tests import chosen_tests, module_of

SOURCES = {
    "benchmarks/bench.py": "from nstc.compress.graphs import edges",
    "compress/graphs/edges.py": "def hidden_edge(): pass\ndef _own(): pass",
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
    "tests/compress/graphs/test_faces.py": "assert face.hidden_edge() == 3",
    "tests/compress/graphs/test_points.py": "_own, hidden_edges = 1, 2",
    "tests/compress/test_pruning.py": "prune(hidden_edge())",
    "tests/compress/graphs/test_edges_of_few.py": "",
    "tests/compress/graphs/test_corners.py": "from nstc.compress.graphs.edges import Edge",
    "tests/benchmarks/test_bench.py": "import nstc.compress.graphs.edges",
    "tests/benchmarks/test_speed.py": "from nstc.benchmarks.bench import timed",
    "tests/runtime/test_angles.py": "from nstc.compress.graphs.corners import angle",
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
        (  # of its name, importing it there and elsewhere, naming what it has, of what imports it
            "compress/graphs/edges.py",
            [
                "compress/graphs/test_edges",
                "compress/graphs/test_edges_of_few",
                "compress/graphs/test_corners",
                "benchmarks/test_bench",
                "compress/graphs/test_faces",
                "runtime/test_angles",
                "benchmarks/test_speed",
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
