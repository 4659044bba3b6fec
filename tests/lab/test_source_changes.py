"""Changes of sources small enough to name each of them."""

import ast
from pathlib import Path

import pytest
from lab.source_changes import changes, every_change, sample


def told(source: str) -> list[str]:
    return [change.summary for change in changes("a.py", source)]


@pytest.mark.parametrize(
    ("source", "summaries"),
    [
        ("a < b", ["< -> <="]),
        ("a is not b", ["is not -> is"]),
        ("a not  in (b)", ["not in -> in"]),
        ("(a) <= \\\n (b)", ["<= -> <"]),
        ("a == b == c", ["== -> !=", "== -> !="]),
        ("a and b or c", ["and -> or", "or -> and"]),
        ("not a", ["not a -> a"]),
        ("a = -b", ["-b -> b"]),
        ("a = b - c ** d", ["- -> +", "** -> *"]),
        ("a += b", ["+ -> -"]),
        ("a = 7, 0.5, 0.0, True", ["7 -> 8", "0.5 -> 1.0", "0.0 -> 1.0", "True -> False"]),
        ("a = min(b)", ["min -> max"]),
        ("if a: b = c", ["a -> not (a)"]),
        ("a = b if c else d", ["c -> not (c)"]),
        ("for a in b: break", ["break -> continue"]),
        ("def a(): return b", ["b -> None"]),
        ("a(b)", ["a(b) -> pass"]),
        ("def a(b=3): pass", ["3 -> 4"]),
        ("def a(): c = d | e", ["| -> &"]),
    ],
)
def test_what_a_test_should_notice_is_changed(source: str, summaries: list[str]) -> None:
    assert told(source) == summaries


@pytest.mark.parametrize(
    "source",
    [
        '"""It is 3 < 4."""',
        "import a",
        "A = B | C",  # a type
        "a: int | None",
        "def a(b: 'C[3]') -> D[4]: pass",
        "@a(b=3)\nclass C: pass",
        "if TYPE_CHECKING:\n    a = 3",
        "a = f'{b + 1}'",
        "a = 'b' + c",
        "def a(): return None",
    ],
)
def test_what_people_and_type_checkers_read_stays(source: str) -> None:
    assert told(source) == []


def test_a_change_is_of_its_place_alone_whatever_bytes_are_before_it() -> None:
    source = "é = '夜'; a = 1\nb = 1\n"
    first, second = changes("a.py", source)
    assert (first.line, second.line) == (1, 2)
    assert first.applied(source) == "é = '夜'; a = 2\nb = 1\n"
    assert second.applied(source) == "é = '夜'; a = 1\nb = 2\n"


def test_changed_sources_are_still_python() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    found = changes("a.py", source)
    assert len(found) > 10
    for change in found:
        assert ast.dump(ast.parse(change.applied(source))) != ast.dump(ast.parse(source))


class TestSample:
    every = tuple(every_change({"b.py": "a = 1\n" * 30, "a.py": "a = 1\n" * 90}))

    def test_a_seed_gives_one_and_another_seed_another(self) -> None:
        assert sample(self.every, 12, 3) == sample(self.every, 12, 3)
        assert sample(self.every, 12, 3) != sample(self.every, 12, 4)

    @pytest.mark.parametrize("count", [1, 7, 12, 119])
    def test_it_is_of_all_files_by_their_length_and_nothing_is_twice(self, count: int) -> None:
        found = sample(self.every, count, 0)
        assert len(set(found)) == count
        assert abs(sum(change.path == "a.py" for change in found) - 0.75 * count) <= 1

    def test_of_few_all_are_taken(self) -> None:
        assert sample(self.every[:5], 12, 0) == list(self.every[:5])
        assert sample([], 12, 0) == []
