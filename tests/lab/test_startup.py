import json
import subprocess
import sys

import pytest
from lab import startup
from lab.startup import COMMANDS, IMPORT_LIMIT_S, LIMIT_S, seconds_of, startup_rows


def fake(seconds: dict[str, float]):
    """A timer that knows commands by their last argument, slower by half in its first round."""
    asked: list[str] = []

    def timer(arguments):
        last = arguments[-1]
        asked.append(last)
        return seconds[last] * (1.5 if asked.count(last) == 1 else 1)

    return timer


FAST = {"pass": 0.02, "--version": 0.2, "--help": LIMIT_S, "import nstc": IMPORT_LIMIT_S}


def test_each_command_is_compared_with_a_bare_interpreter_and_the_first_round_left_out():
    rows = {row.command: row for row in startup_rows(rounds=3, timer=fake(FAST))}

    assert set(rows) == set(COMMANDS)
    assert rows["nstc --version"].seconds == 0.2
    assert rows["nstc --version"].iqr == 0
    assert rows["nstc --version"].over_bare == pytest.approx(10)
    assert all(row.within_limit for row in rows.values())


@pytest.mark.parametrize(("help_takes", "status"), [(LIMIT_S, 0), (LIMIT_S + 0.01, 1)])
def test_the_exit_status_says_whether_the_limit_holds(help_takes, status, monkeypatch, capsys):
    timer = fake({**FAST, "--help": help_takes})
    monkeypatch.setattr(startup, "seconds_of", timer)
    monkeypatch.setattr(sys, "argv", ["startup", "--json"])

    assert startup.main() == status
    found = {row["command"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["nstc --help"]["within_limit"] is (status == 0)


def test_a_real_round_is_timed_and_a_failing_command_is_no_time():
    [*rows] = startup_rows(rounds=1)
    assert [row.command for row in rows] == [*COMMANDS]
    assert all(row.seconds > 0.01 for row in rows)
    with pytest.raises(subprocess.CalledProcessError):
        seconds_of(("-c", "raise SystemExit(3)"))
