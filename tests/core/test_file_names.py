import pytest

from nstc.core.manifest import fault_of_name, fault_of_names

LEADS_ELSEWHERE = ["../notes.txt", "/etc/passwd", "a/b", "a\\b", "C:notes", "C:\\notes", "x:y"]
NOT_SHOWN = ["", "a\n", "\x1b[2J", "a\x00b", "\u202egnp.exe", "a\ud800"]
NOT_ONE_NAME = [".", "..", " a", "a ", "a.", "a" * 201, "e\u0301.onnx"]
NOT_ON_WINDOWS = ["con", "NUL", "aux.onnx", "COM1.txt", "lpt9", "com¹", "what?", "a*", "a|b", '"a"']


@pytest.mark.parametrize("name", LEADS_ELSEWHERE)
def test_a_name_that_leads_elsewhere(name) -> None:
    assert "would lead out of the folder" in (fault_of_name(name) or "")


@pytest.mark.parametrize("name", [*NOT_SHOWN, *NOT_ONE_NAME, *NOT_ON_WINDOWS])
def test_a_name_that_is_not_the_same_file_everywhere(name) -> None:
    assert fault_of_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "weights.safetensors",
        "model.int8.tiles.onnx",
        ".hidden",
        "a b",
        "é.onnx",
        "console",
        "a" * 200,
    ],
)
def test_a_plain_name(name) -> None:
    assert fault_of_name(name) is None


def test_names_that_are_one_file_on_some_systems() -> None:
    assert fault_of_names(["a.onnx", "b.onnx"], reserved="manifest.json") is None
    assert "one file on some systems" in (fault_of_names(["a.onnx", "A.ONNX"], "m") or "")
    assert "manifest.json" in (fault_of_names(["Manifest.JSON"], "manifest.json") or "")
