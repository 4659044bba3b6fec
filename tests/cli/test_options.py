"""Flags that are built from a recipe's fields and from groups."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from nstc.cli.options import Given, Placed, flag, with_flags
from nstc.core.errors import OptionError
from nstc.core.recipe.settings import (
    Checked,
    at_least,
    number_or,
    one_of,
    setting,
    switch,
    within,
)


@dataclass(frozen=True, kw_only=True)
class Baking(Checked):
    """A recipe in the word's first sense."""

    minutes: int = setting(45, at_least(1), "In the oven.")
    heat: float = setting(180.0, within(50, 250), "Of the oven.", unit="CELSIUS")
    flour: str = setting("wheat", one_of("wheat", "rye"), "Of what grain.")
    rest: int | str = setting(0, number_or("overnight", 0, 9), "Hours before.")
    salt: float | None = setting(None, at_least(0), "In grams.", shown="to taste")
    covered: bool = switch(True, "For how long is up to you.")
    turned: bool = switch(True, "Half way.", off="left")
    yeast: float = setting(7.0, at_least(0), "In grams.", flag="leaven")
    secret: int = setting(7, at_least(0))


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """Where."""

    oven: Annotated[str, typer.Option(help="Which one.")] = "gas"
    window: bool = flag(False, "Open.")


@pytest.fixture
def bake():
    """Runs a verb of such a recipe; what reached it stands in `bake.got`."""
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @with_flags
    def verb(
        loaf: str,
        *,
        _flour: Placed = None,
        place: Kitchen,
        given: Given[Baking],
        plate: str = flag("white", "To serve."),
    ) -> None:
        """Bake."""
        run.got = (loaf, place, given, plate)  # type: ignore[attr-defined]

    def run(*words: str) -> Any:
        done = CliRunner().invoke(app, list(words))
        if done.exit_code == 0 and "--help" not in words:
            return run.got  # type: ignore[attr-defined]
        return done

    return run


def recipe_of(bake, *words) -> Baking:
    return bake("rye", *words)[2].over(Baking())


def test_flags_left_out_leave_the_recipe_as_it_is(bake) -> None:
    loaf, place, given, plate = bake("rye")
    assert (loaf, place, plate) == ("rye", Kitchen(), "white")
    own = Baking(minutes=50, covered=False, salt=3)
    assert given.over(own) == own


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--minutes", "1"], Baking(minutes=1)),
        (["--heat", "200"], Baking(heat=200)),
        (["--flour", "rye"], Baking(flour="rye")),
        (["--rest", "3"], Baking(rest=3)),
        (["--rest", "overnight"], Baking(rest="overnight")),
        (["--salt", "0"], Baking(salt=0)),
        (["--no-covered"], Baking(covered=False)),
        (["--covered"], Baking()),
        (["--left"], Baking(turned=False)),
        (["--leaven", "9"], Baking(yeast=9)),
        (["--yeast", "9"], Baking(yeast=9)),
    ],
)
def test_each_setting_has_a_flag(bake, words, expected) -> None:
    assert recipe_of(bake, *words) == expected


def test_the_verb_may_know_better(bake) -> None:
    assert bake("rye")[2].over(Baking(), minutes=9) == Baking(minutes=9)


def test_groups_arrive_as_themselves(bake) -> None:
    assert bake("rye", "--oven", "wood", "--window")[1] == Kitchen(oven="wood", window=True)


def test_what_is_out_of_range_is_said_as_of_a_file(bake) -> None:
    with pytest.raises(OptionError, match="minutes is 0: expected a whole number of at least 1"):
        recipe_of(bake, "--minutes", "0")
    with pytest.raises(OptionError, match="rest is -1: expected a whole number from 0 to 9, or"):
        recipe_of(bake, "--rest", "-1")


def test_help_has_the_name_that_a_setting_gives_its_flag_and_not_its_own(bake) -> None:
    text = bake("--help").stdout
    assert "--leaven" in text
    assert "yeast" not in text


def test_both_names_of_a_flag_are_one_too_many(bake) -> None:
    failed = bake("rye", "--yeast", "9", "--leaven", "9")
    assert isinstance(failed.exception, OptionError)
    assert str(failed.exception) == "--yeast is the old name of --leaven: give one of them."


def test_what_is_out_of_range_has_the_names_of_flag_and_key(bake) -> None:
    told = "leaven is -1.0: expected a number of at least 0 .the recipe key is yeast."
    with pytest.raises(OptionError, match=told):
        recipe_of(bake, "--yeast", "-1")


def test_a_setting_without_help_is_for_files_alone(bake) -> None:
    assert bake("rye", "--secret", "8").exit_code == 2


def test_help_has_text_default_and_place_of_each(bake) -> None:
    lines = bake("--help").stdout.partition("Options:")[2].splitlines()
    shown = [line.strip() for line in lines if line.strip().startswith("--")]
    assert [line.split()[0].rstrip(",") for line in shown][:9] == [
        *("--flour", "--oven", "--window", "--minutes", "--heat", "--rest", "--salt"),
        *("--covered", "--turned"),
    ]
    text = " ".join(" ".join(lines).split())
    for told in (
        "Of what grain. [default: (wheat)]",
        "In the oven. [default: (45)]",
        "--heat CELSIUS Of the oven. [default: (180)]",
        "In grams. [default: (to taste)]",
        "--no-covered For how long is up to you. [default: (yes)]",
        "--left Half way. [default: (turned)]",
    ):
        assert told in text
