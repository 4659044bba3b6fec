"""Parts that installed packages add; a package here is a folder on the path, as pip makes one."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nstc.core.errors import ExtensionError
from nstc.core.extensions import Extensions, names_in, package_of

GROUP = "nstc.metrics"
Install = Callable[..., Path]


@dataclass
class Part:
    """What a table of nstc's holds."""

    name: str


ADDED = Extensions(GROUP, Part, ("ssim",), ("_p90", "_worst"))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> None:
    """What modules of packages can say: that they were imported, and a part."""
    monkeypatch.setattr(sys, "parts_of_a_test", (Part, []), raising=False)


@pytest.fixture
def part(install_extension: Install, load: None) -> Install:
    """Installs a package whose module has a part, `PART`, named sharp."""
    text = "import sys\nkind, imported = sys.parts_of_a_test\nimported.append(__name__)\n"

    def make(package: str, name: str = "sharp", code: str = "PART = kind('sharp')\n") -> Path:
        return install_extension(package, {GROUP: {name: "PART"}}, text + code)

    return make


def imported() -> list[str]:
    return sys.parts_of_a_test[1]  # type: ignore[attr-defined,no-any-return]


def test_without_packages_there_is_nothing() -> None:
    assert (ADDED.names(), ADDED.get("sharp"), ADDED.all()) == ((), None, {})


def test_a_part_is_imported_when_it_is_asked_for_and_no_sooner(part: Install) -> None:
    part("nstc-sharp")
    assert ADDED.names() == names_in(GROUP) == ("sharp",)
    assert package_of(GROUP, "sharp") == "nstc-sharp 1.0"
    assert ADDED.get("blunt") is None
    assert imported() == []
    assert ADDED.get("sharp") == Part("sharp")
    assert ADDED.all() == {"sharp": Part("sharp")}
    assert imported() == ["nstc_sharp"]


def test_other_groups_do_not_see_it(part: Install) -> None:
    part("nstc-sharp")
    assert Extensions("nstc.targets", Part, ()).names() == names_in("nstc.targets") == ()
    assert package_of("nstc.targets", "sharp") is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_like_it", "can't be imported: ModuleNotFoundError: No module named 'noth"),
        ("raise OSError('two\\nlines')", "can't be imported: OSError: two lines. Upgrade or unin"),
        ("", "can't be imported: AttributeError: module 'nstc_bad' has no attribute 'PART'"),
        ("PART = len", r"is a builtin_function_or_method: expected a \S*test_extensions.Part of"),
        ("PART = kind('blunt')", "is named 'blunt': expected a "),
    ],
)
def test_one_that_can_not_be_used_is_named(part: Install, code: str, said: str) -> None:
    part("nstc-bad", code=code)
    with pytest.raises(ExtensionError, match=said) as caught:
        ADDED.get("sharp")
    message = str(caught.value)
    assert message.startswith(
        "the extension sharp = nstc_bad:PART in nstc.metrics of nstc-bad 1.0 "
    )
    assert message.endswith("Upgrade or uninstall nstc-bad.")
    assert "\n" not in message


@pytest.mark.parametrize(("name", "owner"), [("ssim", "nstc"), ("sharp", "nstc-(first|second)")])
def test_a_name_has_one_owner(part: Install, name: str, owner: str) -> None:
    part("nstc-first")
    part("nstc-second", name)
    for ask in (ADDED.names, ADDED.all, lambda: ADDED.get("sharp")):
        with pytest.raises(ExtensionError, match=rf"the extension {name} = nstc_.* has the name "):
            ask()
    with pytest.raises(ExtensionError, match=f"of one that {owner} has: uninstall nstc-"):
        ADDED.names()


@pytest.mark.parametrize("name", ["sharp_p90", "ssim_worst"])
def test_a_name_that_nstc_makes_of_others_is_refused(part: Install, name: str) -> None:
    part("nstc-sharp", name)
    with pytest.raises(ExtensionError, match=f"{name} = .*ends in one of _p90, _worst.*uninstall"):
        ADDED.names()
