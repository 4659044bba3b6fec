"""The notebooks: what is committed of them, and that they run from top to bottom."""

import builtins
import json
from pathlib import Path

import pytest

from nstc.core.images import read_picture

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STYLE_TRANSFER = ROOT / "notebooks" / "neural_style_transfer.ipynb"
SCREEN = 40
"""Lines that fit a screen."""


def cells_of(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def code_with(words: str) -> str:
    """The one cell of code that has these words."""
    (found,) = (
        source
        for cell in cells_of(STYLE_TRANSFER)
        if cell["cell_type"] == "code" and words in (source := "".join(cell["source"]))
    )
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_committed(notebook: Path) -> None:
    for number, cell in enumerate(cells_of(notebook), start=1):
        if cell["cell_type"] == "code":
            kept = cell["outputs"] or cell["execution_count"]
            assert not kept, f"cell {number}: clear all outputs before you commit"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_fits_a_screen(notebook: Path) -> None:
    for number, cell in enumerate(cells_of(notebook), start=1):
        assert 0 < len(cell["source"]) <= SCREEN, f"cell {number}: divide it"


def test_without_ipywidgets_the_line_that_installs_them_is_printed(monkeypatch, capsys) -> None:
    real = builtins.__import__

    def without_widgets(name, *args, **options):
        if name == "ipywidgets":
            raise ModuleNotFoundError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_widgets)
    exec(code_with("import ipywidgets"), {"SIZE": 64, "STEPS": 1, "STRENGTH": 1.5})  # noqa: S102
    assert 'pip install "ipywidgets' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's own packages
def test_it_runs_from_top_to_bottom_and_its_button_works(monkeypatch, tmp_path) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("NSTC_NOTEBOOK_SIZE", "96")
    monkeypatch.setenv("NSTC_NOTEBOOK_STEPS", "3")
    notebook = nbformat.read(STYLE_TRANSFER, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("run.click()"))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, resources=resources).execute()

    for name in ("optimised", "tried"):
        assert max(read_picture(tmp_path / "out" / f"{name}.jpg").rgb.shape) == 96
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 9
    printed = "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )
    assert "their Gram matrix by" in printed
    assert "times as fast" in printed
