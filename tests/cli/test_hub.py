"""Models of a hub and of zip files on the command line."""

import hashlib
import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from answering_servers import served
from PIL import Image
from stub_hub import TOKEN, stub_hub
from whole_copies import whole_copy

from nstc.core.bundle import open_bundle
from nstc.core.manifest import Origin, Step
from nstc.core.zoo import zoo_folder
from nstc.runtime.verification import record

__all__ = ["served", "stub_hub"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def photo(save_picture, pixels):
    return save_picture(pixels, "photo.png")


def test_stylize_by_a_model_of_a_hub(
    nstc, stub_hub, bundle, photo, pixels, tmp_path, caplog
) -> None:
    commit = stub_hub.holds("me/night", bundle.path)
    done = nstc("stylize", photo, "-m", "hf:me/night", "-o", tmp_path / "out.png")
    assert done.code == 0, done.err
    assert caplog.messages == [f"hf:me/night@main is commit {commit}."]
    with Image.open(tmp_path / "out.png") as stylised:
        np.testing.assert_array_equal(np.asarray(stylised), 255 - pixels)


def zip_of(folder, served) -> tuple[str, str]:
    """The address of a bundle's zip file, with a token in it, and what results call it."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    address = served.gives("/night.zip", sink.getvalue())
    digest = f"#sha256={hashlib.sha256(sink.getvalue()).hexdigest()}"
    return f"{address}?token=secret{digest}", f"{address}{digest}"


def test_stylize_by_a_zip_file(nstc, served, bundle, photo, pixels, tmp_path) -> None:
    name, _ = zip_of(bundle.path, served)
    done = nstc("stylize", photo, "-m", name, "-o", tmp_path / "out.png")
    assert done.code == 0, done.err
    with Image.open(tmp_path / "out.png") as stylised:
        np.testing.assert_array_equal(np.asarray(stylised), 255 - pixels)


def test_results_name_a_zip_file_by_its_address(nstc, served, bundle, photo, tmp_path) -> None:
    record(bundle.path)
    name, shown = zip_of(bundle.path, served)
    assert nstc("verify", name).out.startswith(f"{shown}: ")
    done = nstc("stylize", photo, "-m", name, "-o", tmp_path / "out.png", "--json")
    assert json.loads(done.out)["model"] == shown


def test_a_damaged_zip_files_message_has_no_token(nstc, served, photo, tmp_path) -> None:
    address = served.gives("/night.zip", b"PK")
    name = f"{address}?token=secret#sha256={hashlib.sha256(b'PK').hexdigest()}"
    for words in (
        ["verify", "--json", name],
        ["stylize", photo, "-m", name, "-o", tmp_path / "out.png"],
        ["bench", "zoo:udnie/student", "--teacher", name, "--size", 16],
    ):
        done = nstc(*words)
        assert done.code != 0
        assert "/night.zip is not a zip file" in done.out + done.err
        assert "secret" not in done.out + done.err


def test_a_comparison_names_a_zip_file_by_its_address(nstc, served, save_picture, tmp_path) -> None:
    save_picture(np.full((64, 64, 3), 99, np.uint8), "one/grey.png")
    name, shown = zip_of(whole_copy("zoo:the-scream/fast", tmp_path / "copy"), served)
    files = ["--compare", "int8", "int8", "--size", 64, "--photos", tmp_path / "one"]
    done = nstc("analyze", name, *files, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["model"] == shown


def test_restyle_names_a_zip_file_by_its_address(nstc, record, served, bundle, tmp_path) -> None:
    name, shown = zip_of(bundle.path, served)
    start = Origin(name="night", sha256="0" * 64, path=str(open_bundle(name).path))
    history = (Step(verb="restyle", recipe={}, results={}),)
    manifest = SimpleNamespace(history=history, parent=start)
    record(
        "nstc.compress.restyling.restyle_painting.restyle",
        SimpleNamespace(path=tmp_path / "out", manifest=manifest),
    )
    done = nstc("restyle", "p.jpg", "--init", name, "-o", tmp_path / "out", "--json")
    assert json.loads(done.out)["init"] == shown


@pytest.mark.parametrize(
    ("model", "code", "told"),
    [
        ("hf:me", 20, "expected hf:OWNER/NAME"),
        ("hf:me/missing", 13, "or asks for a token"),
        ("hf:me/empty", 20, "it is not a bundle of nstc"),
        ("https://photos.example/a.zip", 20, "needs the file's hash"),
        ("http://photos.example/a.zip#sha256=" + "0" * 64, 20, "is not fetched: expected https"),
    ],
)
def test_names_that_lead_to_none(nstc, stub_hub, photo, tmp_path, model, code, told) -> None:
    stub_hub.holds("me/empty", {"README.md": b"# Nothing"})
    done = nstc("stylize", photo, "-m", model, "-o", tmp_path / "out.png")
    assert done.code == code
    assert told in done.error if "empty" not in model else told in done.err


def test_verify_a_model_of_a_hub(nstc, stub_hub, bundle) -> None:
    record(bundle.path)
    stub_hub.holds("me/night", bundle.path)
    done = nstc("verify", "hf:me/night")
    assert done.code == 0, done.err
    assert done.out.startswith("hf:me/night: ")


def test_nothing_is_written_into_what_was_fetched(nstc, stub_hub, bundle) -> None:
    stub_hub.holds("me/night", bundle.path)
    done = nstc("export", "hf:me/night")
    assert done.code == 40
    assert "is a model as it was fetched, and stays as it is" in done.err


def test_push_says_where_it_is(nstc, stub_hub, bundle, monkeypatch) -> None:
    record(bundle.path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    done = nstc("push", bundle.path, "hf:me/night", "--license", "mit", "--message", "A night")
    assert done.code == 0, done.err
    commit = stub_hub.repositories["me/night"].branches["main"]
    first, second = done.out.splitlines()
    assert first.endswith(f"MB: {stub_hub.url}/me/night/commit/{commit}")
    assert second == f"its name is hf:me/night@{commit}"
    assert TOKEN not in done.out + done.err


def test_a_dry_run_lists_what_would_be_sent(nstc, stub_hub, bundle) -> None:
    record(bundle.path)
    done = nstc("push", bundle.path, "hf:me/night", "--dry-run")
    assert done.code == 0, done.err
    for name in ("manifest.json", "README.md", "model.onnx"):
        assert f"\n{name} " in done.out
    assert done.out.endswith("MB to hf:me/night\n")
    assert done.err == (
        "the card names no licence: give --license, so that others know what they may do.\n"
    )
    assert stub_hub.asked == []


def test_the_zoos_licence_is_known(nstc, tmp_path, stub_hub) -> None:
    done = nstc("push", "zoo:udnie", "hf:me/udnie", "--dry-run", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["license"] == "apache-2.0"
    assert found["commit"] is found["url"] is found["removed"] is None
    assert found["files"].keys() > {"style.safetensors", "model.int8.onnx"}
    assert not list(zoo_folder().glob("udnie/student/.*"))
