import re
from pathlib import Path

import pytest
from lab import docs_pages
from mkdocs.config import load_config

import nstc
from nstc.cli.app import GROUPS, VERBS
from nstc.core.errors import NstcError, OptionError
from nstc.core.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]


def rows(page: str) -> list[list[str]]:
    """The cells of every row of a page's tables, heads and rules left out."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[0] != "---"]


def test_every_verb_and_each_of_its_options_has_a_row() -> None:
    page = docs_pages.command_line()
    for verb in set(VERBS) - GROUPS:
        assert f"\n## nstc {verb}\n" in page
    assert any("--strength" in row[0] and "[default: 1.0]" in row[1] for row in rows(page))
    assert all(len(row) == 2 and row[1] for row in rows(page)), "an option without help"


def test_every_recipe_key_has_a_row_with_its_range_and_default() -> None:
    page = docs_pages.recipe_keys()
    for section in Recipe.__annotations__:
        assert f"\n## [{section}]\n" in page
    assert ["`size`", "Side of the crops in px. A whole number from 64 to 1024.", "`192`"] in rows(
        page
    )


def test_every_exit_code_has_a_row() -> None:
    listed = {int(row[0]) for row in rows(docs_pages.exit_codes())[1:]}
    kinds = [NstcError]
    for kind in kinds:
        kinds += [own for own in kind.__subclasses__() if own.__module__ == "nstc.core.errors"]
    assert {kind.exit_code for kind in kinds[1:]} | {0, 2, 70, 71, 72, 73, 74, 75, 76} == listed
    row = [str(OptionError.exit_code), "`OptionError`"]
    assert row in [found[:2] for found in rows(docs_pages.exit_codes())]


def test_every_public_name_has_an_entry() -> None:
    page = docs_pages.python_api()
    for name in set(nstc.__all__) - {"__version__"}:
        assert re.search(rf"^::: nstc\..*\b{name}$", page, re.MULTILINE)


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_pages_that_the_site_does_not_check(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        if not re.match(r"[a-z]+:", link):
            assert (ROOT / link).exists(), f"{path} links to {link}, which is not there"


def test_every_page_but_decisions_and_cards_is_in_the_navigation() -> None:
    config = load_config(str(ROOT / "mkdocs.yml"))
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    generated = {"changelog.md", "contributing.md", "security.md", "adr/index.md"} | {
        f"reference/{name}.md"
        for name in ("baseline", "cli", "recipe", "exit-codes", "python", "results")
    }
    pages = {
        str(page.relative_to(ROOT / "docs"))
        for page in (ROOT / "docs").rglob("*.md")
        if page.parent.name != "adr"
    }
    assert named == pages | generated
