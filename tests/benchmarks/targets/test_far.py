import pytest

from nstc.benchmarks.targets.far import parse_options
from nstc.core.errors import OptionError

KNOWN = ("threads", "python")


def test_options_by_name():
    assert parse_options("t", "", KNOWN) == {}
    assert parse_options("t", "threads=2&python=/opt/v-1.2_x/bin/python3.11", KNOWN) == {
        "threads": "2",
        "python": "/opt/v-1.2_x/bin/python3.11",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=2", r"no option 'speed'; it takes threads, python"),
        ("threads=2&threads=3", "once each"),
        ("threads", "threads is '': expected a number"),
        ("threads=two", "expected a number"),
        ("threads=²", "expected a number"),
        ("threads=0", "from 1 to"),
        ("threads=9999", "from 1 to"),
        ("python=", "expected a path"),
        ("python=a b", "expected a path"),
        ("python=/x;reboot", "expected a path"),
        ("python=$(reboot)", "expected a path"),
        ("python=`reboot`", "expected a path"),
        ("python=/x\nreboot", "expected a path"),
        ("python=/x\n", "expected a path"),
        ("python=-c", "expected a path"),
        ("python=/x'y", "expected a path"),
        ("&", "no option ''"),
    ],
)
def test_all_else_is_refused(text, message):
    with pytest.raises(OptionError, match=message):
        parse_options("ssh://board", text, KNOWN)
