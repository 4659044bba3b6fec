"""Changes that a hostile or unlucky writer makes to structured content, as hypothesis strategies.

`mutated(content)` gives a JSON-like tree with one to three places changed: a value replaced by one
of another type or at the end of its range, a key left out, renamed, added or swapped, a value
wrapped or repeated. `mangled(data)` gives bytes cut, overwritten or repeated.
"""

import copy
from typing import Any

from hypothesis import strategies as st

EXTREMES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 4096, 10**9, 2**31, 2**53, 2**63, 2**64, -(2**63)),
    *(10**30, 0.0, -0.0, 0.5, 1.5, 1e-320, 1e308, float("inf"), float("nan")),
    *("", "x", "0", "None", "inf", "a" * 300, "a" * 5000, "é", "e\u0301", "\u202e", "\x00"),
    *(
        "\ud800",
        "\x1b[2J",
        "a\nb",
        "../x",
        "/etc/passwd",
        "C:\\x",
        "manifest.json",
        "con",
        ".",
        "..",
    ),
    *("zoo:starry-night", "zoo:nothing", "0" * 64, "g" * 64, "%s", "{x}", "[bold]x[/]"),
    *([], {}, [[]], [None], [0] * 300, [{}], {"": None}, {"a": {"b": []}}, ["x"], [1e308, 0]),
)
"""What stands where something else should."""

Path = tuple[str | int, ...]


def places(content: Any, path: Path = ()) -> list[Path]:
    """Where the values of a tree stand, its root first."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(content, dict):
        inner = list(content.items())
    elif isinstance(content, list):
        inner = list(enumerate(content))
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, content: Any) -> Any:
    """A copy with one to three changes."""
    tree = {"root": copy.deepcopy(content)}
    for _ in range(draw(st.integers(1, 3))):
        known = places(tree)[1:]
        *way, last = draw(st.sampled_from(known)) if known else ("root",)
        holder: Any = tree
        for key in way:
            holder = holder[key]
        _change(draw, holder, last, fixed=not way)
    return tree["root"]


def _change(draw: st.DrawFn, holder: Any, last: Any, *, fixed: bool) -> None:
    kind = draw(
        st.sampled_from(("replace", "replace", "remove", "rename", "nest", "repeat", "add"))
    )
    value = holder[last]
    if kind == "remove" and not fixed:
        del holder[last]
    elif kind == "rename" and isinstance(holder, dict) and not fixed:
        texts = [text for text in EXTREMES if isinstance(text, str)]
        holder[draw(st.sampled_from([*texts, *holder]))] = holder.pop(last)
    elif kind == "nest":
        depth = draw(st.sampled_from((1, 2, 40, 101)))
        for _ in range(depth):
            value = [value] if depth % 2 else {"a": value}
        holder[last] = value
    elif kind == "repeat" and isinstance(value, list | str):
        holder[last] = (
            value * draw(st.sampled_from((2, 70, 1100))) if len(value) < 20 else value * 2
        )
    elif kind == "add" and isinstance(value, dict):
        key = draw(st.sampled_from(("new", "", "../x", "name")))
        value[key] = copy.deepcopy(draw(st.sampled_from(EXTREMES)))
    else:
        holder[last] = copy.deepcopy(draw(st.sampled_from(EXTREMES)))


@st.composite
def mangled(draw: st.DrawFn, data: bytes) -> bytes:
    """A copy that is cut, or of which bytes are overwritten, left out or repeated."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        length = draw(st.sampled_from((1, 1, 2, 8, 64)))
        kind = draw(st.sampled_from(("set", "set", "cut", "remove", "insert", "repeat")))
        if kind == "set":
            changed[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "cut":
            del changed[at:]
        elif kind == "remove":
            del changed[at : at + length]
        elif kind == "insert":
            changed[at:at] = draw(
                st.sampled_from((b"\x00", b"\xff" * 8, b"\xef\xbb\xbf", b'"', b"{"))
            )
        else:
            changed[at:at] = changed[at : at + length] * draw(st.sampled_from((2, 1000)))
    return bytes(changed)
