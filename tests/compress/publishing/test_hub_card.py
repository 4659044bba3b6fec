import dataclasses

import pytest
from huggingface_hub import ModelCard

from nstc.compress.publishing.hub_card import hub_card, license_of
from nstc.core.bundle import open_bundle
from nstc.core.errors import CorruptBundleError
from nstc.core.manifest import Origin


def test_the_head_is_what_a_hub_reads() -> None:
    manifest = open_bundle("zoo:udnie").manifest
    named = f"hf:them/mosaic/mosaic-9.onnx@{'0' * 40}"
    teacher = Origin(name="mosaic", sha256="0" * 64, zoo=named)
    manifest = dataclasses.replace(manifest, teacher=teacher)
    text = hub_card(manifest, "# udnie\n", "me/udnie", "apache-2.0")
    card = ModelCard(text)
    data = card.data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "nstc"
    assert data["pipeline_tag"] == "image-to-image"
    assert data["base_model"] == ["them/mosaic"]
    assert {"style-transfer", "onnx", "int8"} <= set(data["tags"])
    assert card.text.strip().startswith("# udnie")
    sets = "12 photographs of samples at 512x512"
    results = {
        (own.task_name, own.metric_type): own.metric_value
        for own in card.data.eval_results
        if own.dataset_name == sets
    }
    row = manifest.measurements[0]
    ratio = results["Style transfer, model.int8.onnx", "style_ratio"]
    assert ratio == round(row["quality"]["style_ratio"], 4)
    assert results["Style transfer, model.int8.onnx", "times_faster_cpu:2"] > 50
    assert license_of(text) == "apache-2.0"


def test_without_a_teacher_there_are_no_ratios_and_times_say_beside_what() -> None:
    manifest = open_bundle("zoo:udnie").manifest
    rows = [{**row, "reference": "zoo:wave/teacher"} for row in manifest.measurements]
    manifest = dataclasses.replace(manifest, teacher=None, measurements=tuple(rows))
    results = ModelCard(hub_card(manifest, "", "me/udnie", None)).data.eval_results
    assert {(own.metric_type, own.metric_name) for own in results} == {
        ("times_faster_cpu:2", "times faster cpu:2 than zoo:wave/teacher")
    }
    itself = tuple({**row, "reference": None} for row in rows)
    text = hub_card(dataclasses.replace(manifest, measurements=itself), "", "me/udnie", None)
    assert "times_faster" not in text


def test_tags_name_the_files_for_phones(bundle) -> None:
    held = bundle.manifest.files
    assert not {"tflite", "coreml"} & set(
        ModelCard(hub_card(bundle.manifest, "", "a/b", None)).data.tags
    )
    record = next(iter(held.values()))
    names = ("model.64x96.tflite", "model.64x96.mlpackage.zip")
    manifest = dataclasses.replace(bundle.manifest, files={**held, **dict.fromkeys(names, record)})
    tags = ModelCard(hub_card(manifest, "", "a/b", None)).data.tags
    assert {"tflite", "coreml"} <= set(tags)
    assert "zip" not in tags


@pytest.mark.parametrize("name", ["---", "a: b", '"\n---\nlicense: mit', "#", "- x", "\u2028", "é"])
def test_no_name_ends_the_head(bundle, name) -> None:
    manifest = dataclasses.replace(
        bundle.manifest, measurements=open_bundle("zoo:udnie").manifest.measurements, name=name
    )
    text = hub_card(manifest, "", "me/x", None)
    data = ModelCard(text).data
    assert data.to_dict()["model-index"][0]["name"] == name
    assert data.license is None


def test_measurements_of_another_form(bundle) -> None:
    manifest = dataclasses.replace(bundle.manifest, measurements=({"model": "x"},))
    with pytest.raises(CorruptBundleError, match="Measure the bundle anew"):
        hub_card(manifest, "", "me/x", None)


def test_a_card_without_a_head_names_no_licence() -> None:
    assert license_of("# A night\n\n---\nlicense: mit\n---\n") is None
