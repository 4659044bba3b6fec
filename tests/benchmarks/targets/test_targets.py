"""The table of targets."""

import pytest

from nstc.benchmarks.targets import all_targets, chosen_targets, cpu, parse_target
from nstc.core.errors import ExtensionError, OptionError


@pytest.mark.parametrize(
    "text", ["", "gpu", "cpu:", "cpu:0", "cpu:-1", "cpu:two", "cpu:1.5", "cpu:²"]
)
def test_nonsense_is_an_option_error_with_an_example(text):
    with pytest.raises(OptionError, match="cpu:2"):
        parse_target(text)


def test_a_target_that_can_not_run_here_says_why(monkeypatch):
    monkeypatch.setattr(cpu, "tells_peak_memory", lambda: False)
    with pytest.raises(OptionError, match="can't run here: this system does not tell"):
        parse_target("mobile")


def test_threads_are_short_for_cpu():
    assert chosen_targets((), 2) == ("cpu:2",)
    assert chosen_targets(("mobile", "cpu:1"), None) == ("mobile", "cpu:1")
    assert chosen_targets((), None) is None
    with pytest.raises(OptionError, match="give one of them"):
        chosen_targets(("mobile",), 2)


class TestOfOtherPackages:
    CODE = (
        "from types import SimpleNamespace\n"
        "from nstc.benchmarks.targets.base import TargetKind\n"
        "PARTS = ('reference_artifact', 'draws_on', 'reports_memory', 'artifacts', 'open',"
        " 'measure')\n"
        "def make(argument):\n"
        "    return SimpleNamespace(name=argument, **dict.fromkeys(PARTS, print))\n"
        "KIND = TargetKind(form='board[:N]', summary='', make=make, availability=lambda: None)\n"
    )

    def test_are_found_by_what_stands_before_the_colon(self, install_extension) -> None:
        install_extension("nstc-board", {"nstc.targets": {"board": "KIND"}}, self.CODE)
        assert parse_target("board:a:2").name == "a:2"
        assert parse_target("board").name is None
        with pytest.raises(OptionError, match=r"no target 'bored': expected one of .*, board, as"):
            parse_target("bored")

    def test_are_not_looked_for_where_the_name_is_nstcs_own(self, install_extension) -> None:
        install_extension("nstc-board", {"nstc.targets": {"cpu": "KIND"}}, self.CODE)
        assert parse_target("cpu:1").name == "cpu:1"
        with pytest.raises(ExtensionError, match="has the name of one that nstc has"):
            all_targets()

    @pytest.mark.parametrize("part", ["draws_on", "reports_memory", "measure"])
    def test_one_that_lacks_a_part_of_a_target_is_named(self, install_extension, part) -> None:
        # as those that were made for an nstc that did not ask for it yet
        code = self.CODE.replace(f"'{part}'", "'other'")
        install_extension("nstc-board", {"nstc.targets": {"board": "KIND"}}, code)
        with pytest.raises(ExtensionError) as caught:
            parse_target("board:a")
        assert str(caught.value) == (
            "the extension board = nstc_board:KIND in nstc.targets of nstc-board 1.0 makes a "
            f"SimpleNamespace without {part}: expected all of a "
            "nstc.benchmarks.targets.base.Target. Upgrade or uninstall nstc-board."
        )

    def test_one_whose_method_is_an_attribute_is_named(self, install_extension) -> None:
        # as those that were made when every target had one artifact for its reference
        code = self.CODE.replace("PARTS, print)", "PARTS, print) | {'reference_artifact': 'onnx'}")
        install_extension("nstc-board", {"nstc.targets": {"board": "KIND"}}, code)
        with pytest.raises(ExtensionError) as caught:
            parse_target("board:a")
        assert str(caught.value) == (
            "the extension board = nstc_board:KIND in nstc.targets of nstc-board 1.0 makes a "
            "SimpleNamespace whose reference_artifact is no method: expected all of a "
            "nstc.benchmarks.targets.base.Target. Upgrade or uninstall nstc-board."
        )
