"""What a graph gets besides the picture: read by the type and shape that it declares."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from nstc.core.errors import ImageError, NstcError, OptionError, TeacherError
from nstc.core.files import sha256_of
from nstc.core.graph_form import read_inputs
from nstc.runtime.foreign import trial
from nstc.runtime.foreign.networks import ForeignSession, open_foreign_graph
from nstc.runtime.foreign.other_inputs import taken_apart
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.foreign.trial import GraphValue

NET = Path("net.onnx")
PHOTO = GraphValue("photo", "tensor(float)", [1, 3, "H", "W"])
GREY = np.full((64, 72, 3), 200, np.uint8)


def style_input(kind: str, shape: list[int | str | None]) -> GraphValue:
    return GraphValue("style", f"tensor({kind})", shape)


def fed(value: GraphValue, text: str) -> np.ndarray:
    """What an input beside a photograph gets for a text."""
    taken, others = taken_apart(NET, [PHOTO, value], read_inputs([f"style={text}"]))
    assert taken is PHOTO
    return others.numbers["style"]


@pytest.mark.parametrize(
    ("kind", "shape", "text", "expected"),
    [
        ("int64", ["N"], "7", [7]),
        ("int64", [], "7", 7),
        ("int32", [1], " -3 ", [-3]),
        ("uint8", [1, 1], "255", [[255]]),
        ("float", [], "0.5", 0.5),
        ("double", [1], "-1e-3", [-0.001]),
        ("float", [3], "0.2, 0.3,0.5", [0.2, 0.3, 0.5]),
        ("float", [1, 3, 1, 1], "1,2,3", [[[[1]], [[2]], [[3]]]]),
        ("float16", ["N", 2], "3,4", [[3, 4]]),
        ("float", ["N", "K"], "3,4,5", [[3, 4, 5]]),
        ("float", [None, 2, "K"], "1,2,3,4", [[[1, 2], [3, 4]]]),
    ],
)
def test_numbers_in_the_type_and_shape_of_their_input(kind, shape, text, expected) -> None:
    made = fed(style_input(kind, shape), text)
    wanted = np.array(expected, {"float": "float32", "double": "float64"}.get(kind, kind))
    assert made.dtype == wanted.dtype
    np.testing.assert_array_equal(made, wanted)


def test_the_number_of_a_style_is_a_1_in_its_place_where_there_are_weights() -> None:
    assert fed(style_input("float", [4]), "2").tolist() == [0, 0, 1, 0]
    assert fed(style_input("int64", ["N", 3]), "0").tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("kind", "shape", "text", "expected"),
    [
        ("int64", [1], "7.5", "a whole number"),
        ("int64", [1], "starry", "a whole number"),
        ("int64", [1], "7,8", "a whole number"),
        ("int64", [1], "9" * 30, "a whole number"),
        ("uint8", [1], "256", "a whole number"),
        ("float", [1], "nan", "a number"),
        ("float", [1], "inf", "a number"),
        ("float", [1], "1e7", "a number"),
        ("float", [1], "1_0", "a number"),  # what Python takes, and a form in a file may not hold
        ("float", [1], "\u0663", "a number"),
        ("float16", [1], "70000", "a number"),
        (
            "float",
            [3],
            "1,2",
            "3 numbers with commas between them, or one whole number from 0",
        ),
        ("float", [3], "3", "from 0 to 2"),
        ("float", [3], "-1", "from 0 to 2"),
        ("float", [3], "0.5", "3 numbers"),
        ("int64", ["N"], "1,,2", "whole numbers with commas"),
        ("float", [2, "K"], "1,2,3", "numbers with commas"),
        ("float", [1, 3, "H", "W"], "7", "the file of a picture, and there is no such file"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_would(kind, shape, text, expected) -> None:
    with pytest.raises(OptionError, match=r"^input is style=.*: net\.onnx takes style ") as caught:
        fed(style_input(kind, shape), text)
    assert f"{np.dtype('float32' if kind == 'float' else kind)} [" in str(caught.value)
    assert expected in str(caught.value).partition("expected ")[2]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "shape"), [("string", [1]), ("bool", [1]), ("float", [5000]), ("float", [0])]
)
def test_an_input_that_nothing_can_be_given_to(kind, shape) -> None:
    with pytest.raises(TeacherError, match=r"net\.onnx takes style .*: expected beside a picture"):
        fed(style_input(kind, shape), "1")


class TestWhichInputIsThePicture:
    """By what is given, and by shape."""

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_the_one_with_a_pictures_shape_wherever_it_stands(self, position) -> None:
        inputs = [style_input("int64", [1]), GraphValue("strength", "tensor(float)", [])]
        inputs.insert(position, PHOTO)
        taken, others = taken_apart(NET, inputs, read_inputs(["strength=0.5", "style=7"]))
        assert taken is PHOTO
        assert set(others.numbers) == {"style", "strength"}

    def test_what_is_left_over_of_two_pictures(self, save_picture) -> None:
        painting = save_picture(GREY)
        style = style_input("float", [1, 3, "H", "W"])
        given = read_inputs([f"style={painting}"])
        for inputs in ([PHOTO, style], [style, PHOTO]):
            assert taken_apart(NET, inputs, given)[0] is PHOTO

    def test_two_pictures_are_ambiguous(self) -> None:
        style = style_input("float", [1, 256, 256, 3])
        with pytest.raises(TeacherError, match=r"each of them may be the photo.*--input style="):
            taken_apart(NET, [style, PHOTO], ())

    def test_an_input_left_without_a_value_is_told_with_what_it_takes(self) -> None:
        with pytest.raises(
            TeacherError,
            match=r"also takes style \(int64 \[N\]\), expected whole numbers .*--input style=",
        ):
            taken_apart(NET, [PHOTO, style_input("int64", ["N"])], ())

    def test_a_name_that_no_input_has_is_told_with_those_there_are(self) -> None:
        inputs = [PHOTO, style_input("int64", [1])]
        with pytest.raises(
            OptionError,
            match=r"no input styl, expected photo \(float32 \[1, 3, H, W\]\) or style "
            r"\(int64 \[1\]\)\. Did you mean style\?",
        ):
            taken_apart(NET, inputs, read_inputs(["styl=7"]))

    def test_nothing_left_for_the_photograph(self, save_picture) -> None:
        given = read_inputs(["style=7", f"photo={save_picture(GREY)}"])
        with pytest.raises(OptionError, match="leave out the one for the photograph"):
            taken_apart(NET, [PHOTO, style_input("int64", [1])], given)

    def test_no_picture_at_all(self) -> None:
        inputs = [style_input("float", [5]), GraphValue("seed", "tensor(int64)", [1])]
        with pytest.raises(TeacherError, match="expected one picture among them"):
            taken_apart(NET, inputs, ())


class TestPainting:
    """A picture besides the photograph."""

    @pytest.mark.parametrize(
        ("kind", "shape", "size"),
        [
            ("float", [1, 3, 48, 40], (48, 40)),
            ("uint8", [1, 48, 40, 3], (48, 40)),
            ("float", ["N", 3, "H", "W"], (256, 256)),
            ("float", [None, None, 32, 3], (256, 32)),
        ],
    )
    def test_it_has_the_size_that_is_declared_or_256(self, save_picture, kind, shape, size) -> None:
        given = read_inputs([f"style={save_picture(GREY)}"])
        _, others = taken_apart(NET, [PHOTO, style_input(kind, shape)], given)
        assert others.paintings["style"].rgb.shape == (*size, 3)

    def test_it_is_known_by_its_content_and_whole_path(self, save_picture, monkeypatch) -> None:
        painting = save_picture(GREY, "painting.png")
        monkeypatch.chdir(painting.parent)
        inputs = [PHOTO, style_input("float", [1, 3, "H", "W"])]
        _, others = taken_apart(NET, inputs, read_inputs(["style=painting.png"]))
        [known] = others.given
        assert (known.value, known.sha256) == (str(painting.resolve()), sha256_of(painting))
        save_picture(GREY // 2, "painting.png")
        with pytest.raises(TeacherError, match=r"painting\.png is not the picture that style was"):
            taken_apart(NET, inputs, others.given)

    @pytest.mark.parametrize(
        ("folder", "most", "said"),
        [("a\u200bb", 1500, "control characters: copy the picture"), ("a", 30, "at most 30 in")],
    )
    def test_a_whole_path_that_no_form_can_hold_is_told(
        self, save_picture, tmp_path, monkeypatch, folder, most, said
    ) -> None:
        monkeypatch.setattr("nstc.core.graph_form._MOST_INPUT_TEXT", most)
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        save_picture(GREY, "painting.png").rename("painting.png")
        inputs = [PHOTO, style_input("float", [1, 3, "H", "W"])]
        with pytest.raises(OptionError, match=f"^input .*{said}") as caught:
            taken_apart(NET, inputs, read_inputs(["style=painting.png"]))
        assert str(caught.value).isprintable()

    def test_what_is_no_picture_is_an_image_error(self, tmp_path) -> None:
        file = tmp_path / "painting.jpg"
        file.write_bytes(b"no picture")
        inputs = [PHOTO, style_input("float", [1, 3, "H", "W"])]
        with pytest.raises(ImageError, match=r"painting\.jpg"):
            taken_apart(NET, inputs, read_inputs([f"style={file}"]))

    def test_a_graph_may_not_ask_for_one_that_is_too_large(self, save_picture) -> None:
        inputs = [PHOTO, style_input("float", [1, 3, 60_000, 60_000])]
        with pytest.raises(TeacherError, match="larger than pictures are"):
            taken_apart(NET, inputs, read_inputs([f"style={save_picture(GREY)}"]))

    def test_it_is_fed_on_the_scale_of_the_photograph(self, styled, save_picture, tmp_path) -> None:
        """The graph multiplies by the painting's mean: from 0 to 1 a grey of 102 is 0.4."""
        path = styled(tmp_path / "net.onnx", "painting")
        painting = save_picture(np.full((50, 70, 3), 102, np.uint8), "painting.png")
        contract = probe_contract(path, input_range=1, inputs=read_inputs([f"style={painting}"]))
        assert np.allclose(contract.feeds_of_others()["style"], 0.4, atol=1e-6)
        assert (ForeignSession(path, contract).run(GREY) == 80).all()


def test_two_styles_of_one_file(styled, tmp_path) -> None:
    path = styled(tmp_path / "net.onnx", "index")
    made = {}
    for style in ("0", "2"):
        contract = probe_contract(path, input_range=1, inputs=read_inputs([f"style={style}"]))
        assert f"with style={style}" in contract.describe()
        assert probe_contract(path, contract.form) == contract
        session = ForeignSession(path, contract).reopened()
        made[style] = int(session.run(GREY)[0, 0, 0])
    assert made == {"0": 100, "2": 180}


def test_a_file_that_takes_whole_numbers_is_tried_before_it_is_opened(
    styled, tmp_path, monkeypatch
) -> None:
    path = styled(tmp_path / "net.onnx", "index")
    fed_with = []
    run = trial.GraphProcess.run

    def watched(process, feeds):
        fed_with.append({name: values.shape for name, values in feeds.items()})
        # whatever sizes the file asks for, they take memory of the process under limits only
        assert all(values.strides == (0,) * values.ndim for values in feeds.values())
        return run(process, feeds)

    monkeypatch.setattr(trial.GraphProcess, "run", watched)
    monkeypatch.setattr(trial, "passed", {})
    open_foreign_graph(path, inputs=read_inputs(["style=1"]))
    assert fed_with == [{"x": (1, 3, 64, 64), "style": (1,)}]


def test_torchscript_is_given_a_picture_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("nstc.runtime.foreign.networks.is_torchscript", lambda _: True)
    (tmp_path / "net.ts").write_bytes(b"program")
    with pytest.raises(OptionError, match=r"input is style=7: .*net\.ts is TorchScript"):
        open_foreign_graph(tmp_path / "net.ts", trust=True, inputs=read_inputs(["style=7"]))


def test_names_in_a_file_of_others_do_not_flood_the_message(write_graph, tmp_path) -> None:
    long = "s" * 5000
    path = write_graph(
        tmp_path / "net.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        more_inputs=[helper.make_tensor_value_info(long, TensorProto.INT64, [1])],
    )
    with pytest.raises(NstcError) as caught:
        open_foreign_graph(path, to_probe=True)
    assert len(str(caught.value)) < 600 + len(str(path))
