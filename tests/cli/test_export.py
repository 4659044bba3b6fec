from pathlib import Path

import pytest

from nstc.compress.export import FOLDER, FORMATS
from nstc.core.bundle import open_bundle
from nstc.core.zoo import zoo_folder

EXPORT = "nstc.compress.export.export_model.export"


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ([], "formats", ["onnx", "torchscript"]),
        (["--format", "torchscript, onnx"], "formats", ["torchscript", "onnx"]),
        ([], "output", None),
        (["-o", "files"], "output", Path("files")),
        ([], "static", None),
        ([], "size", None),
        (["--format", "portable", "--size", "64x96"], "size", (64, 96)),
        (["--format", "coreml", "--size", "64x96"], "formats", ["coreml"]),
        ([], "edges", None),
        (["--edges", "bytes"], "edges", "bytes"),
        (["--static", "480X640"], "static", (480, 640)),
        (["--format", "executorch,executorch-int8"], "formats", ["executorch", "executorch-int8"]),
    ],
)
def test_each_flag_arrives(nstc, record, arguments, field, value) -> None:
    calls = record(EXPORT, [Path("a"), Path("b")])
    done = nstc("export", "model", *arguments)
    assert (done.code, done.out) == (0, "wrote a\nwrote b\n")
    assert calls[0]["model"] == ["model"]
    assert calls[0][field] == value


def test_no_flag_is_forgotten_here(flags_of) -> None:
    assert flags_of("export") == {
        "--format",
        "--output",
        "--static",
        "--size",
        "--edges",
        "--photos",
    }


def test_photographs_to_calibrate_on_arrive(nstc, record, photo_folder) -> None:
    calls = record(EXPORT, [])
    nstc("export", "model", "--format", "executorch-int8", "--photos", photo_folder)
    assert [path.name for path in calls[0]["photos"]] == ["a.png", "b.png"]


def test_a_format_whose_extra_is_not_installed_says_what_to_install(
    nstc, student_bundle, monkeypatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = nstc("export", student_bundle.path, "--format", "executorch")
    assert done.code == 5
    assert 'pip install "nstc[executorch]"' in done.error
    assert open_bundle(student_bundle.path).artifacts == ()


def test_files_go_into_the_bundle(nstc, student_bundle) -> None:
    done = nstc("export", student_bundle.path, "--format", "onnx")
    assert done.code == 0, done.err
    assert done.out == f"wrote {student_bundle.path / 'model.onnx'}\n"
    assert open_bundle(student_bundle.path).artifacts == ("onnx",)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["zoo:udnie"], "nstc export zoo:udnie -o udnie --format onnx,torchscript"),
        (
            ["zoo:udnie/teacher", "--format", "onnx", "--static", "64x32"],
            "nstc export zoo:udnie/teacher -o udnie-teacher --format onnx --static 64x32",
        ),
        (
            ["zoo:udnie", "--format", "portable", "--size", "64x32", "--edges", "bytes"],
            "nstc export zoo:udnie -o udnie --format portable --size 64x32 --edges bytes",
        ),
    ],
)
def test_what_ships_is_read_only_and_the_line_to_copy_is_shown(nstc, given, line) -> None:
    done = nstc("export", *given)
    assert done.code == 40
    assert done.error.endswith(f"is read-only: give a folder of your own: {line}")


def test_nor_are_files_put_beside_what_ships(nstc) -> None:
    done = nstc("export", "zoo:udnie", "-o", zoo_folder() / "udnie" / "student")
    assert (
        done.error
        == "nstc: zoo:udnie is included in nstc and is read-only: choose another --output."
    )


def test_files_are_not_put_into_a_folder_that_is_named_like_one(nstc) -> None:
    done = nstc("export", "zoo:udnie", "-o", "model.onnx")
    assert done.code == 3
    assert "Give the name of a folder, such as model." in done.error


def test_what_ships_gets_no_check_vectors(nstc) -> None:
    done = nstc("verify", "zoo:udnie", "--record")
    assert done.code == 40
    assert "verify it without --record" in done.error


def test_help_names_each_format(nstc) -> None:
    shown = "".join(nstc("export", "--help").out.split())  # lines may break behind a hyphen
    assert f"Someof{','.join(FORMATS)},with" in shown
    assert f"or{FOLDER}," in shown


def test_a_page_of_several_models_is_one_line(nstc, record) -> None:
    calls = record(EXPORT, [Path("page/index.html"), Path("page/site.json")])
    done = nstc("export", "a", "b", "--format", "web", "-o", "page")
    assert (done.code, done.out) == (0, "wrote page: 2 files\n")
    assert (calls[0]["model"], calls[0]["formats"]) == (["a", "b"], ["web"])


def test_a_page_without_onnxruntime_web_says_what_fetches_it(nstc, tmp_path) -> None:
    done = nstc("export", "zoo:udnie", "--format", "web", "-o", tmp_path / "page")
    assert done.code == 5
    assert "nstc web-setup" in done.error
    assert not (tmp_path / "page").exists()
