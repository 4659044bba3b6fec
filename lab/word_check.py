"""Spelling and words of the documentation and of the help: `python -m lab.word_check`.

codespell finds what is misspelt. `WRONG` holds expressions that have a better word; code and links
are left out. What notebooks say between their code is read too. `make lint` runs it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from nstc.cli.app import GROUPS, VERBS, verb_command

ROOT: Final = Path(__file__).resolve().parents[1]

WRONG: Final[Mapping[str, str]] = {
    r"learn(s|ed|t|ing)? to be rounded|rounds? while": "quantization-aware training",
    r"\b(is|are|was) no (bundle|picture|photograph|video|student|teacher|number)": "is not a ...",
    r"\bagree(s|d)? to (the|a|what|new)": "accept as the baseline",
    r"\btold (of|in what)\b|\btells? of\b": "reports, relative to",
    r"\bof all randomness\b": "random seed",
    r"\bdearest\b": "most expensive",
    r"\b(un)?steadiness\b": "flicker",
    r"\bpaints?\b|\bpainted\b": "stylise, stylised",
    r"\bfilms?\b": "video",
    r"\bwhat ships\b|\bships? (with|in)\b|\bthat ships?\b": "is included",
    r"\bgo(es)? on (with|from|where|by)\b": "resumes, continues",
    r"\b(quiet|busy|patient)(er)? machine": "idle, loaded or low-noise machine",
    r"\bwhatever their colours\b": "any colour profile and orientation",
}
"""What is not written, as a regular expression, and what is."""

_CODE: Final = re.compile(r"^```[\s\S]*?^```|^ {4}.*$|`[^`\n]*`|\]\([^)]*\)", re.MULTILINE)


def prose() -> Iterator[tuple[str, str]]:
    """The text that people read, each with where it is: pages, notebooks, help of verbs."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    for page in pages:
        yield str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells, start=1):
            if cell["cell_type"] == "markdown":
                yield f"{notebook.relative_to(ROOT)}, cell {number}", "".join(cell["source"])
    for verb in (verb for verb in VERBS if verb not in GROUPS):
        command = verb_command(verb)
        help = [command.help, *(own.help for own in command.params if not own.hidden)]
        yield f"nstc {verb} --help", "\n".join(filter(None, help))


def wrong_words(text: str) -> Iterator[tuple[int, str, str]]:
    """The line, the words and what is better, of every expression in `WRONG` outside of code."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    text = _CODE.sub(blank, text)
    for pattern, better in WRONG.items():
        for found in re.finditer(pattern, text, re.IGNORECASE):
            yield text.count("\n", 0, found.start()) + 1, found[0], better


def main() -> None:
    """Print every wrong word, and exit by 1 if there is one."""
    spelling = subprocess.run([sys.executable, "-m", "codespell_lib"], cwd=ROOT, check=False)
    wrong = [
        f"{where}:{line}: {words!r}: write {better!r}"
        for where, text in prose()
        for line, words, better in wrong_words(text)
    ]
    print("\n".join(wrong))
    sys.exit(1 if wrong or spelling.returncode else 0)


if __name__ == "__main__":
    main()
