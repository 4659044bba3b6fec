import dataclasses
import json

import pytest

from nstc.core.errors import OptionError
from nstc.core.graph_form import (
    GivenInput,
    GraphForm,
    form_from_json,
    form_of,
    mean_of,
    read_inputs,
    std_of,
)
from nstc.core.manifest import Architecture, Contract, Manifest, Origin

CAFFE = (103.939, 116.779, 123.68)
STYLES = (
    GivenInput(name="style", value="0.5,0.5"),
    GivenInput(name="painting", value="/a=b/é.jpg", sha256="ab" * 32),
)


def test_the_old_name_of_the_input_range_is_still_taken() -> None:
    assert form_of(value_range=-1) == GraphForm(input_range=-1)
    with pytest.raises(OptionError, match="both name the input's range"):
        form_of(value_range=1, input_range=255)


@pytest.mark.parametrize(
    "told",
    [
        {"layout": "CHW"},
        {"input_range": 2},
        {"output_range": True},
        {"channels": "gbr"},
        {"size_multiple": 0},
        {"size_multiple": "4"},
        {"mean": (1.0, 2.0)},
        {"mean": (1.0, 2.0, float("nan"))},
        {"mean": (10**1500, 1, 2)},
        {"mean": (True, 1.0, 2.0)},
        {"std": (1.0, 0.0, 1.0)},
        {"output_std": (-1.0, 1.0, 1.0)},
        {"output_mean": "caffe"},
    ],
)
def test_what_no_network_is_fed_with_is_refused_by_its_flag(told) -> None:
    [name] = told
    with pytest.raises(OptionError, match=rf"^{name.replace('_', '-')} is .*: expected "):
        form_of(**told)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["style"], "expected a name and a value"),
        (["=7"], "expected a name and a value"),
        (["style="], "expected a name and a value"),
        (["style=7\n"], "expected a name and a value"),
        (["style=7", "style=8"], "style is given twice"),
        ([f"style{n}=7" for n in range(17)], "given 17 times: expected at most 16"),
        (["style=" + "0.125," * 300], "expected at most 1500"),
    ],
)
def test_inputs_that_no_graph_can_have_are_refused(texts, told) -> None:
    with pytest.raises(OptionError, match=rf"^input .*{told}"):
        form_of(inputs=read_inputs(texts))


def test_imagenets_statistics_follow_range_and_order() -> None:
    assert mean_of("imagenet", 255, "bgr") == pytest.approx((103.53, 116.28, 123.675))
    assert std_of("imagenet", 255, "rgb") == pytest.approx((58.395, 57.12, 57.375))
    assert mean_of("imagenet", -1, "rgb") == pytest.approx((-0.03, -0.088, -0.188))
    assert (mean_of(CAFFE, 255, "bgr"), mean_of(None, 1, "rgb")) == (CAFFE, (0, 0, 0))


def test_a_mean_is_not_taken_over_into_another_range() -> None:
    known = GraphForm(input_range=255, mean=CAFFE, channels="bgr", layout="NCHW")
    assert GraphForm(layout="NHWC").completed_by(known) == dataclasses.replace(known, layout="NHWC")
    own = GraphForm(input_range=1).completed_by(known)
    assert own == GraphForm(input_range=1, channels="bgr", layout="NCHW")


def test_it_is_the_same_after_json_and_as_flags() -> None:
    form = GraphForm(input_range=-1, mean=CAFFE, std="imagenet", channels="bgr")
    assert form_from_json(form.to_json()) == form
    assert form.flags() == (
        "--input-range -1 --channels bgr --mean 103.939,116.779,123.68 --std imagenet"
    )
    styled = GraphForm(input_range=1, inputs=STYLES)
    assert form_from_json(styled.to_json()) == styled
    assert styled.flags() == "--input-range 1 --input style=0.5,0.5 --input painting=/a=b/é.jpg"
    assert read_inputs(["style=0.5,0.5", "painting=/a=b/é.jpg"])[1].value == "/a=b/é.jpg"


def test_the_longest_inputs_fit_into_a_file() -> None:
    longest = GivenInput(name="style", value="\u753b" * 1494, sha256="0" * 64)
    form = GraphForm(mean=CAFFE, std="imagenet", output_mean=CAFFE, inputs=(longest,))
    assert form_from_json(form.to_json()) == form


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"x": 1}', '{"mean": 1}', '{"layout": []}', "[" * 9999),
        *('{"inputs": 1}', '{"inputs": [1]}', '{"inputs": [{"name": "style"}]}'),
        '{"inputs": [{"name": "style", "value": 7}]}',
        *(
            f'{{"inputs": [{{"name": "style", "value": "/home/me/private.jpg"{sha256}}}]}}'
            for sha256 in ("", ', "sha256": ""', ', "sha256": 0', ', "sha256": "x"')
        ),
    ],
)
def test_json_of_others_is_refused(text) -> None:
    with pytest.raises(OptionError, match="expected"):
        form_from_json(text)


def test_a_manifest_of_others_can_not_have_any_picture_read() -> None:
    form = GraphForm(inputs=read_inputs(["style=/home/me/private.jpg"]))
    with pytest.raises(ValueError, match=r"private\.jpg: expected numbers or a SHA-256"):
        Origin(name="net", sha256="0" * 64, form=form)


def test_a_manifest_keeps_how_a_teacher_was_fed() -> None:
    form = GraphForm(
        input_range=255, mean=CAFFE, std=(1.0, 1.0, 1.0), channels="bgr", inputs=STYLES
    )
    manifest = Manifest(
        name="student",
        stage="distilled",
        architecture=Architecture(name="net-of-others", arguments={}),
        contract=Contract(size_multiple=4, minimum_size=4, receptive_field=9, locality="exact"),
        teacher=Origin(name="net", sha256="0" * 64, path="/net.onnx", form=form),
    )
    read = Manifest.from_json(manifest.to_json(), "manifest.json")
    assert read == manifest
    assert read.teacher.form == form


def test_a_manifest_leaves_out_what_a_form_does_not_say() -> None:
    """So that an nstc which has no --input reads it: keys that it does not know are refused."""
    manifest = Manifest(
        name="student",
        stage="distilled",
        architecture=Architecture(name="net-of-others", arguments={}),
        contract=Contract(size_multiple=4, minimum_size=4, receptive_field=9, locality="exact"),
        teacher=Origin(name="net", sha256="0" * 64, form=GraphForm(input_range=255)),
    )
    written = manifest.to_json()
    assert json.loads(written)["teacher"]["form"] == {"input_range": 255}
    assert Manifest.from_json(written, "manifest.json") == manifest
