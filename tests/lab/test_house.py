"""The figures of the house, on sources small enough to count by hand."""

from lab.house import beyond_the_limits, counted, sources

SMALL = (
    '''"""One subject."""

import math
from pathlib import (
    Path,
)


class Room:
    """A type."""

    def _inner(self) -> float:
        return math.pi


def _long() -> None:
'''
    + "    Path()\n" * 60
)


def test_lines_imports_and_definitions_are_counted():
    house = counted({"runtime/room.py": SMALL})
    assert house.lines == 76
    assert house.import_lines == 4
    assert (house.definitions, house.private_definitions) == (3, 2)
    assert house.long_functions == {"runtime/room.py:_long": 61}


def test_what_is_kept_is_not_named():
    assert (
        list(
            beyond_the_limits(
                counted({"runtime/door.py": '"""A door."""\n' * 10 + "def door(): ...\n"})
            )
        )
        == []
    )


def test_each_limit_is_named_with_its_place():
    files = {f"runtime/m{i}.py": "X = 1\n" for i in range(21)} | {"models/big.py": "X = 1\n" * 401}
    files |= {"models/small.py": SMALL}
    lines = list(beyond_the_limits(counted(files)))
    assert "runtime: 21 modules; at most 20" in lines
    assert "models/big.py: 401 lines; at most 400" in lines
    assert "models/small.py:_long: 61 lines; at most 60" in lines
    assert "67 % private definitions; at most 25 %" in lines


def test_a_verb_of_the_cli_may_share_its_name_and_nothing_else_may():
    files = {
        "src/nstc/cli/verbs/measuring/report.py": "",
        "benchmarks/report.py": "",
        "runtime/__init__.py": "",
    }
    assert counted(files | {"models/__init__.py": ""}).shared_module_names == {}
    two = {
        "benchmarks/pictures.py": "class Picture: ...\n",
        "runtime/pictures.py": "class Picture: ...\n",
    }
    house = counted(two)
    assert list(house.shared_module_names) == ["pictures.py"]
    assert list(house.shared_type_names) == ["Picture"]
    private = {path: text.replace("Picture", "_Picture") for path, text in two.items()}
    assert counted(private).shared_type_names == {}


def test_no_two_modules_and_no_two_public_types_share_a_name():
    house = counted(sources())
    assert house.shared_module_names == {}
    assert house.shared_type_names == {}


def test_no_module_or_function_or_folder_has_outgrown_its_limit():
    house = counted(sources())
    assert house.long_functions == {}
    assert {path: lines for path, lines in house.modules.items() if lines > 400} == {}
    assert {room: count for room, count in house.modules_in_folders.items() if count > 20} == {}
