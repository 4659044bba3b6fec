"""No name that others chose reaches the terminal but through the one place that escapes it."""

import re
from pathlib import Path

import pytest

import nstc.cli
from nstc.benchmarks import doctor
from nstc.cli.output import Bar, say, say_json, tell
from nstc.core import extras

HOSTILE = "a[bold]\x1b]0;x\x07:smile:\u202e"
SHOWN = r"a[bold]\x1b]0;x\x07:smile:\u202e"
BY_THEMSELVES = re.compile(
    r"typer\.(echo|secho)\((?!(result|output_formats)\.to_json)|print_exc\(|[^_.]print\(|Console\("
    r"|std(err|out)\.write\((?!(terminal\.)?shown)"
)


def test_lines_messages_and_progress(capsys) -> None:
    say(HOSTILE)
    tell(f"{HOSTILE}\nmore")
    with Bar() as bar:
        bar.begin(HOSTILE, 2, 0)
        bar.note(HOSTILE)
    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\n"
    assert err.splitlines() == [f"{SHOWN} more", f"{SHOWN}: 2 steps", SHOWN]


def test_json_stays_json(capsys) -> None:
    say_json([HOSTILE])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\u001b]0;x\\u0007:smile:\\u202e" in printed


def test_verbs_print_through_it_alone() -> None:
    folder = Path(nstc.cli.__file__).parent
    for path in set(folder.glob("*.py")) - {folder / "output.py"}:
        assert not BY_THEMSELVES.search(path.read_text(encoding="utf-8")), path.name


def test_a_hostile_file_name_in_an_error_and_its_traceback(nstc) -> None:
    for flags in ([], ["--debug"]):
        done = nstc(*flags, "verify", HOSTILE)
        assert "\x1b" not in done.err
        assert SHOWN in done.err


def test_the_line_that_installs_an_extra_is_whole(nstc, monkeypatch) -> None:
    monkeypatch.setattr(
        doctor,
        "extras",
        lambda: (extras.Extra(name="compress", missing=("torch>=2.9",)),),
    )
    assert 'pip install "nstc[compress]"' in nstc("doctor").out


@pytest.mark.parametrize("name", ["[red]x.jpg", ":smile:.jpg"])
def test_verify_shows_the_names_of_files(nstc, bundle, name) -> None:
    (bundle.path / name).write_bytes(b"")
    assert name in nstc("verify", bundle.path).out
