"""What `nstc.optimize` refuses, before any work."""

from pathlib import Path

import pytest
from PIL import Image as PillowImage

from nstc.core.errors import CheckpointError, ImageError, OptionError, OutputError


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"photo": Path("missing.png")}, ImageError, "there is no such file"),
        ({"painting": Path("missing.png")}, ImageError, "there is no such file"),
        ({"painting": "red.png"}, OptionError, "has a single colour"),
        ({"output": Path("out.docx")}, OptionError, r"\.docx"),
        ({"style_layers": "relu9_1=1"}, OptionError, "no layer relu9_1"),
        ({"content_layers": "relu5_1=1"}, OptionError, "no layer relu5_1"),
        ({"style_losses": "grams=1"}, OptionError, "style-losses names grams: expected some of"),
        ({"content_losses": "gram=1,content=1"}, OptionError, "content-losses names gram"),
        ({"style_losses": "tv=1"}, OptionError, "style-losses names tv"),
        ({"style_size": 32, "painting": "narrow.png"}, OptionError, "less than 16 px"),
        ({"size": 64, "scales": 3}, OptionError, "expected 32 at least"),
        (
            {"style_losses": "patches=1", "style_size": 134, "painting": "narrow.png"},
            OptionError,
            "3x3 patch",
        ),
        ({"vgg": "nothing"}, OptionError, "no VGG weights at nothing"),
        ({"vgg": "photo.png"}, CheckpointError, "is not a safetensors file"),
        ({"preview_every": 0}, OptionError, "preview-every is 0: expected"),
        (
            {"strength_by": "statistics", "style_strength": 0.5, "style_losses": "patches=1"},
            OptionError,
            "patches does not have",
        ),
        ({"photo": "ftp://x/a.png"}, Exception, "only http and https"),
    ],
)
def test_wrong_input_is_refused_before_the_work_and_leaves_nothing(
    run, pictures, tmp_path, monkeypatch, given, kind, said
) -> None:
    folder = pictures
    with PillowImage.open(folder / "painting.png") as painting:
        painting.resize((200, 24)).save(folder / "narrow.png")
    for name in ("painting", "vgg"):
        if str(given.get(name, "")).endswith(".png") and isinstance(given[name], str):
            given = {**given, name: str(folder / given[name])}
    if "output" in given:
        given = {**given, "output": tmp_path / given["output"]}

    def never(*_arguments: object) -> None:
        raise AssertionError("it began")

    monkeypatch.setattr("nstc.compress.learning.loop.Optimisation.run", never)
    with pytest.raises(kind, match=said):
        run(**given)
    assert not list(tmp_path.iterdir())


def test_an_input_is_not_replaced(run, pictures) -> None:
    for name in ("photo", "painting"):
        before = (pictures / f"{name}.png").read_bytes()
        with pytest.raises(OptionError, match="which is an input too"):
            run(output=pictures / f"{name}.png")
        assert (pictures / f"{name}.png").read_bytes() == before


def test_a_file_where_checkpoints_would_go(run, tmp_path) -> None:
    file = tmp_path / "out.png.optimization"
    file.write_text("mine")
    with pytest.raises(OutputError, match="it is a file"):
        run()
    assert file.read_text() == "mine"
