"""A hook of MkDocs: pages of the documentation site that are written from the code.

The reference of the command line, of recipe keys, of exit codes, of the result's JSON and of the
Python API is generated, so that it can't differ from what runs; so are the index of the decisions
and the cards of the included models. Links from pages to files of the repository that the site does
not have lose their link and keep their text.
"""

import dataclasses
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import nstc
from nstc.cli.app import GROUPS, VERBS, app, verb_command
from nstc.core import errors
from nstc.core.recipe import Recipe
from nstc.core.recipe.settings import TYPES, Setting

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURES: Final = (".jpg", ".png", ".svg")
ZOO: Final = ROOT / "models" / "zoo"
GENERATED: Final = "Generated from the code by `make docs`.\n\n"
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/cli.md": command_line(),
        "reference/recipe.md": recipe_keys(),
        "reference/exit-codes.md": exit_codes(),
        "reference/python.md": python_api(),
        "reference/results.md": result_schemas(),
        "adr/index.md": decisions(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "security.md": (ROOT / "SECURITY.md").read_text(encoding="utf-8"),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for card in sorted(ZOO.glob("*/*/README.md")):
        style, role = card.parts[-3:-1]
        files.append(
            File.generated(
                config, f"zoo/{style}/{role}/index.md", content=card.read_text(encoding="utf-8")
            )
        )
        for picture in sorted(own for own in card.parent.iterdir() if own.suffix in PICTURES):
            files.append(
                File.generated(
                    config, f"zoo/{style}/{role}/{picture.name}", abs_src_path=str(picture)
                )
            )
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_unused: object) -> str:
    """Unlink what the site does not have."""

    def link(found: re.Match[str]) -> str:
        is_picture, text, address = found.groups()
        path = address.partition("#")[0]
        if is_picture or not path or re.match(r"[a-z]+:", address):
            return found[0]
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), path))
        return text if files.get_file_from_path(whole) is None else found[0]

    return _LINK.sub(link, markdown)


def command_line() -> str:
    """Every verb with its arguments and options."""
    text = f"# Command line\n\n{GENERATED}{(app.info.help or '').strip()}\n"
    for verb in (verb for verb in VERBS if verb not in GROUPS):
        command = verb_command(verb)
        context = command.context_class(command, info_name=f"nstc {verb}")
        usage = " ".join([context.info_name, *command.collect_usage_pieces(context)])
        text += f"\n## nstc {verb}\n\n{_sentences(command.help)}\n\n    {usage}\n\n"
        records = [own.get_help_record(context) for own in command.params]
        rows = [(f"`{own[0]}`", own[1]) for own in records if own is not None]
        text += _table(("option", "what it is"), rows)
    return text


def recipe_keys() -> str:
    """Every table and key of a recipe file."""
    text = (
        f"# Recipe keys\n\n{GENERATED}A recipe is a TOML file with a table for each step; "
        "`--recipe FILE` reads it, and flags override it.\n"
    )
    for section, kind in get_type_hints(Recipe).items():
        if not dataclasses.is_dataclass(kind):
            continue
        rows = []
        for each in dataclasses.fields(kind):
            known: Setting | None = each.metadata.get("setting")
            if known is not None:
                values = known.allowed.expected.format(number=TYPES[each.type][1])
                meaning = f"{known.help} {_capital(values)}.".strip()
                rows.append((f"`{each.name}`", meaning, _value(each.default, known)))
        text += f"\n## [{section}]\n\n" + _table(("key", "what it is", "default"), rows)
    return text


def exit_codes() -> str:
    """Every code that a process of nstc ends with."""
    rows = [("0", "", "Done."), ("2", "", "A command line that can't be parsed.")]
    rows += [
        (str(kind.exit_code), f"`{kind.__name__}`", _sentences(kind.__doc__))
        for kind in sorted(_kinds(errors.NstcError), key=lambda kind: kind.exit_code)
    ]
    rows += [(str(code), "", f"`nstc check`: {verdict}.") for verdict, code in _verdicts().items()]
    rows.sort(key=lambda row: int(row[0]))
    return (
        f"# Exit codes\n\n{GENERATED}An error is one line that says what was given, what was "
        "expected and what to do; `nstc --debug` adds the traceback. In Python the same error is "
        "raised: each is a kind of `nstc.NstcError`.\n\n"
        + _table(("code", "error", "meaning"), rows)
    )


def python_api() -> str:
    """What `import nstc` has."""
    parts = [f"# Python\n\n{GENERATED}{_sentences(nstc.__doc__)}\n"]
    for name in sorted(nstc.__all__):
        if not name.startswith("_"):
            home = getattr(nstc, name).__module__
            parts.append(f"::: {home}.{name}\n")
    return "\n".join(parts)


def result_schemas() -> str:
    """The JSON Schema of a bench result."""
    schema = (ROOT / "benchmarks" / "bench-2.schema.json").read_text(encoding="utf-8")
    keys = json.loads(schema)["properties"]
    rows = [
        (f"`{key}`", str(own.get("description", own.get("type", "")))) for key, own in keys.items()
    ]
    return (
        f"# Results\n\n{GENERATED}`nstc bench --json FILE` writes one object. Its JSON Schema is "
        "in the package too, `nstc/benchmarks/bench-2.schema.json`.\n\n"
        + _table(("key", "what it is"), rows)
        + f"\n## The schema\n\n```json\n{schema.strip()}\n```\n"
    )


def decisions() -> str:
    """The decision records by number."""
    rows = []
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        number, _, words = title.partition(". ")
        rows.append((number, f"[{words}]({path.name})"))
    return (
        "# Decisions\n\nDecisions that would surprise a newcomer, each with what was tried.\n\n"
        + _table(("", "decision"), rows)
    )


def _kinds(kind: type[errors.NstcError]) -> Iterator[type[errors.NstcError]]:
    for own in kind.__subclasses__():
        if own.__module__.startswith("nstc."):
            yield own
            yield from _kinds(own)


def _verdicts() -> Mapping[str, int]:
    from nstc.benchmarks.gate.verdicts import EXIT_STATUS

    return {str(verdict.value): status for verdict, status in EXIT_STATUS.items() if status}


def _value(default: Any, known: Setting) -> str:
    if known.shown is not None:
        return known.shown
    if default is dataclasses.MISSING or default is None:
        return ""
    return f"`{json.dumps(default)}`" if isinstance(default, bool | str) else f"`{default}`"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentences(text: str | None) -> str:
    """A docstring without the breaks of its lines."""
    paragraphs = (text or "").strip().split("\n\n")
    return "\n\n".join(" ".join(own.split()) for own in paragraphs)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines
    )
