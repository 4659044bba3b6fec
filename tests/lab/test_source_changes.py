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
    def test_it_has_so_many_in_their_order_and_nothing_twice(self, count: int) -> None:
        found = sample(self.every, count, 0)
        places = [self.every.index(change) for change in found]
        assert len(places) == count
        assert places == sorted(set(places))

    def test_a_large_file_gives_more_than_a_small_one(self) -> None:
        large = sum(change.path == "a.py" for change in sample(self.every, 60, 0))
        assert 36 < large < 54  # 45 of 60 are to be expected

    def test_what_is_written_elsewhere_leaves_it_as_it_was(self) -> None:
        words = [f"a{number} = 1\n" for number in range(90)]
        longer = ["z = x + y\n", *words[:50], "\n\n", "    \n", *words[50:]]
        before, after = (
            {own.within for own in sample(changes("a.py", "".join(lines)), 20, 0)}
            for lines in (words, longer)
        )
        assert len(before & after) >= 19

    def test_of_few_all_are_taken(self) -> None:
        assert sample(self.every[:5], 12, 0) == list(self.every[:5])
        assert sample([], 12, 0) == []
