"""What the command line says of models where nstc-models is not installed."""

from device_zoo import LINE, device

from nstc.core import VERSION

__all__ = ["device"]  # a fixture


def test_the_list_says_what_is_not_here(device, nstc) -> None:
    done = nstc("models")
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "Not installed: zoo:great-wave/teacher, " in said
    assert f'. Install them with: pip install "nstc-models=={VERSION}"' in said


def test_the_list_notices_a_file_that_should_be_here(device, nstc) -> None:
    (device / "udnie" / "fast" / "model.int8.onnx").unlink()
    done = nstc("models")
    assert done.code == 21
    assert "model.int8.onnx of zoo:udnie/fast is missing" in done.err


def test_nothing_is_missing_in_a_checkout(nstc) -> None:
    assert "Not installed" not in nstc("models").out


def test_the_command_line_says_it_in_a_line(device, nstc, save_picture, pixels, tmp_path) -> None:
    photo, out = save_picture(pixels, "a.png"), tmp_path / "out.png"
    for model, wanted in (
        (["zoo:udnie/teacher"], "zoo:udnie/teacher"),
        (["zoo:udnie", "--precision", "float"], "model.onnx of zoo:udnie"),
        (["zoo:udnie", "--artifact", "ts"], "model.ts of zoo:udnie"),
    ):
        done = nstc("stylize", photo, "-m", *model, "-o", out)
        assert (done.code, done.err) == (5, f"nstc: {wanted} {LINE}\n")
