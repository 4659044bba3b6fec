import importlib
import inspect
import pkgutil

import pytest

from nstc.cli import verbs
from nstc.cli.app import GROUPS, SECTIONS, VERBS, verb_function


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in GROUPS])
def test_help_lists_a_verb_with_the_first_sentence_of_its_own_help(verb, nstc) -> None:
    summary = VERBS[verb]
    assert (inspect.getdoc(verb_function(verb)) or "").startswith(summary)
    assert summary.endswith(".")
    whole = " ".join(nstc(*verb.split(), "--help").out.split())
    assert f"Usage: nstc {verb} " in whole
    assert summary in whole


def test_every_folder_of_verbs_is_a_section() -> None:
    folders = {module.name for module in pkgutil.iter_modules(verbs.__path__)}
    assert folders == {section.folder for section in SECTIONS}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.folder)
def test_every_file_of_a_verb_is_listed(section) -> None:
    folder = importlib.import_module(f"nstc.cli.verbs.{section.folder}")
    files = {
        module.name.strip("_").replace("_", "-") for module in pkgutil.iter_modules(folder.__path__)
    }
    assert files == {verb.split()[0] for verb in section.verbs}
