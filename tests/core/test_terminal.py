"""What others chose is shown on a terminal, never obeyed."""

import io
import sys

import pytest
from rich.table import Table

from nstc.core import terminal
from nstc.core.errors import ImageError
from nstc.core.terminal import (
    as_text,
    one_line,
    plain_console,
    printable,
    read_standard_input,
    short_name,
)
from nstc.core.zoo import zoo_folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\bc\x7f\x00", r"a\rb\x08c\x7f\x00"),
        ("two\nlines", r"two\nlines"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\u2066a\u2069\u200f\u061c", r"\u2066a\u2069\u200f\u061c"),
        ("a\u2028b", r"a\u2028b"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("Zoë 星月夜 نجوم \u202f🧑\u200d🎨", "Zoë 星月夜 نجوم \u202f🧑\u200d🎨"),
        ("[bold]:smile:", "[bold]:smile:"),
    ],
)
def test_what_a_terminal_obeys_is_an_escape(text, expected):
    assert printable(text) == expected


def test_lines_can_stay_and_a_sign_can_stand_for_the_rest():
    assert printable("a\nb\x1b", lines=True, sign="?") == "a\nb?"


def test_a_message_is_one_line():
    assert one_line("first\nsecond\r\n\x1b[2Jthird") == r"first second \x1b[2Jthird"


def test_a_name_of_a_file_is_one_short_line():
    assert short_name("stem\r\nWorst: none\x1b[2J") == r"stem\r\nWorst: none\x1b[2J"
    assert short_name("blocks.0") == "blocks.0"
    long = short_name("first" + 500 * "\n" + "last")
    assert len(long) == 81
    assert long.startswith("first\\n")
    assert long.endswith("\\nlast")


def test_what_ships_is_called_by_its_zoo_name():
    folder = zoo_folder() / "starry-night"
    told = one_line(f"{folder / 'student' / 'model.onnx'} differs. {folder}/teacher is none.")
    assert told == "model.onnx of zoo:starry-night differs. zoo:starry-night/teacher is none."


@pytest.mark.parametrize("made", [str, as_text])
def test_tables_take_no_markup_from_their_cells(made, monkeypatch):
    table = Table(title=made("[i]t:smile:"), caption=made("pip install x[y]"))
    table.add_column(made("[red]head"))
    table.add_row(made("\x1b[31m[bold]b[/bold]"))
    console = plain_console(width=60)
    monkeypatch.setattr(console, "file", io.StringIO())
    console.print(table)
    printed = console.file.getvalue()
    for whole in ("[red]head", "[i]t:smile:", "pip install x[y]", r"\x1b[31m[bold]b[/bold]"):
        assert whole in printed
    assert "\x1b" not in printed


def test_surrogates_and_all_are_found():
    obeyed = [chr(code) for code in range(0x110000) if terminal.printable(chr(code)) != chr(code)]
    assert all(not character.isprintable() for character in obeyed)


def test_standard_input_may_hold_as_many_bytes_as_are_allowed(monkeypatch):
    def piped(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return read_standard_input(4_000)

    assert piped(bytes(4_000)) == bytes(4_000)
    with pytest.raises(ImageError, match=r"holds more than 0\.004 MB: raise --max-download-mb"):
        piped(bytes(4_001))
