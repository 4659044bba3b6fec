"""Settings in the page's address, in Node."""

import pytest

pytestmark = pytest.mark.web

READ = "return module.settingsOf(value, module.initialSettings());"
AGAIN = """
    const initial = { ...module.initialSettings(), engine: value.engine };
    return module.fragmentOf(module.settingsOf(value.fragment, initial), initial);
"""


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "engine=device",
        "model=udnie&strength=0.8",
        "model=udnie&second=the-scream&share=0.25&colors=1&brush=1.5&size=512&engine=server"
        "&precision=float&photo=coffee",
        "size=0",
    ],
)
def test_an_address_says_what_was_set(in_node, fragment):
    """On each kind of page what differs from its own first settings, and nothing else."""
    engines = ["device", "server"]
    given = [
        in_node("settings.mjs", AGAIN, {"fragment": fragment, "engine": own}) for own in engines
    ]

    assert given == [fragment.removeprefix("engine=device"), fragment.replace("&engine=server", "")]


@pytest.mark.parametrize(
    ("fragment", "field", "initial"),
    [
        ("#strength=7", "strength", 1),
        ("#strength=", "strength", 1),
        ("#strength=nan", "strength", 1),
        ("#size=12345678", "size", 1024),
        ("#engine=elsewhere", "engine", "device"),
        ("#model=<script>", "model", ""),
        ("#precision=int3", "precision", "auto"),
    ],
)
def test_what_is_out_of_bounds_is_left_out(in_node, fragment, field, initial):
    assert in_node("settings.mjs", READ, fragment)[field] == initial
