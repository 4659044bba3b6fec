"""QR codes of links, as a terminal shows them."""

import io
import sys

import pytest
import segno

from nstc.runtime.serving.link_code import terminal_code

LINK = "https://192.168.1.20:8765/AbCdEfGhIjKlMnOpQrStUv/"
HALVES = {" ": (1, 1), "▀": (0, 1), "▄": (1, 0), "█": (0, 0)}  # dark is 1


class Terminal(io.StringIO):
    """One that can show whatever its encoding has."""

    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = True) -> None:
        super().__init__()
        self.said_encoding = encoding
        self.is_terminal = is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.said_encoding

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.fixture(autouse=True)
def columns(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_it_is_the_code_of_the_link() -> None:
    rows: list[list[int]] = []
    for line in terminal_code(LINK, Terminal()).splitlines():
        upper, lower = zip(*(HALVES[char] for char in line), strict=True)
        rows += [list(upper), list(lower)]
    expected = [list(row) for row in segno.make(LINK, micro=False).matrix_iter(border=4)]
    assert rows[: len(expected)] == expected
    assert len(rows) <= len(expected) + 1


@pytest.mark.parametrize(
    "stream", [Terminal(is_terminal=False), Terminal("ascii"), Terminal("latin-1")]
)
def test_where_nothing_can_show_it(stream) -> None:
    assert terminal_code(LINK, stream) == ""


def test_a_terminal_that_would_break_its_lines(monkeypatch) -> None:
    width = len(terminal_code(LINK, Terminal()).splitlines()[0])
    for columns, is_shown in ((width, True), (width - 1, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert bool(terminal_code(LINK, Terminal())) == is_shown


def test_without_segno(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert terminal_code(LINK, Terminal()) == ""
