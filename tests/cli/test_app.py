import functools
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nstc.cli.app import GROUPS, VERBS, verb_function
from nstc.cli.verb_errors import reporting
from nstc.core import VERSION
from nstc.core.bundle import open_bundle
from nstc.core.errors import ArtifactError, Interrupted, NstcError, OutputError

VERIFY = "nstc.runtime.verification.verify"


def test_the_version(nstc) -> None:
    done = nstc("--version")
    assert (done.code, done.out) == (0, f"nstc {VERSION}\n")


def test_without_arguments_the_verbs_are_listed(nstc) -> None:
    done = nstc()
    assert done.code == 2
    listed = done.out + done.err
    for verb in ("compress", "distill", "stylize", "verify"):
        assert f"\n  {verb} " in listed
    assert "..." not in listed.partition("Stylise pictures:")[2], "a summary was cut short"
    assert "\n  Exit codes: 0 done" in listed


def test_an_unknown_verb_and_an_unknown_flag(nstc) -> None:
    done = nstc("distil", "x")
    assert (done.code, done.err) == (
        2,
        "nstc: nstc has no verb distil. Did you mean distill? See nstc --help.\n",
    )
    done = nstc("verify", "x", "--fast")
    assert done.code == 2
    assert "--fast" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stylize", "a", "-o", "b", "--strength", "abc"], "--strength is abc: expected a number."),
        (["stylize", "a", "-o", "b", "--size=1.5"], "--size is 1.5: expected a whole number."),
        (["stylize", "a", "-o", "b", "--crf=x\x1b"], r"--crf is x\x1b: expected a whole number."),
        (["stylize", "a", "--out", "b"], "no option --out. Did you mean --output?"),
        (["stylize", "a"], "nstc stylize needs --output: the picture or video to write"),
        (["stylize", "a", "-o"], "option '-o' requires an argument. See nstc stylize --help."),
        (["verify"], "nstc verify needs BUNDLE: bundles or zoo names."),
        (["models", "x"], "unexpected extra argument"),
        (["baseline", "up"], "nstc baseline has no verb up. Did you mean update?"),
        (["baseline", "update", "f"], "nstc baseline update needs --reason: why the new numbers"),
        (["--verison"], "nstc has no option --verison. Did you mean --version?"),
        (["distill", "a", "-o", "b", "--resume=3"], "'--resume' does not take a value"),
    ],
)
def test_a_line_that_can_not_be_parsed_is_answered_in_one(nstc, arguments, told) -> None:
    done = nstc(*arguments)
    assert done.code == 2
    assert told in done.error
    assert done.err.count("\n") == 1


def test_an_error_is_one_line_and_its_code(nstc, tmp_path) -> None:
    done = nstc("verify", tmp_path / "nothing")
    assert done.code == 20
    assert done.out == ""
    assert done.err.splitlines() == [done.error]
    assert str(tmp_path / "nothing") in done.error


def test_an_error_of_several_lines_is_told_in_one(nstc, record) -> None:
    record(VERIFY, NstcError("first\nsecond"))
    done = nstc("verify", "x")
    assert (done.code, done.err) == (1, "nstc: first second\n")


def test_debug_adds_the_traceback(nstc, tmp_path) -> None:
    done = nstc("--debug", "verify", tmp_path / "nothing")
    assert done.code == 20
    assert done.err.startswith("Traceback")
    assert "read_manifest" in done.err


@pytest.mark.parametrize(
    "module", ["torch", "torchvision", "torch_pruning.pruner", "onnx", "onnxscript", "safetensors"]
)
def test_a_missing_extra_names_the_line_that_installs_it(nstc, record, module) -> None:
    record(VERIFY, ModuleNotFoundError(f"No module named {module!r}", name=module))
    done = nstc("verify", "x")
    assert done.code == 5
    assert module in done.error
    assert 'pip install "nstc[compress]"' in done.error


def test_another_missing_module_is_a_bug_and_shown_as_one(nstc, record) -> None:
    record(VERIFY, ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere"))
    with pytest.raises(ModuleNotFoundError):
        nstc("verify", "x")


def test_ctrl_c(nstc, record) -> None:
    record(VERIFY, KeyboardInterrupt())
    done = nstc("verify", "x")
    assert done.code == 130
    assert done.error == "nstc: stopped before it was done. The same command begins anew."


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - GROUPS))
def test_ctrl_c_promises_to_go_on_where_help_does(verb) -> None:
    function = verb_function(verb)
    given = {"resume": False} if "resume" in inspect.signature(function).parameters else {}

    @functools.wraps(function)
    def stopped(**_) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        reporting(verb, stopped)(**given)
    if given:
        told = "what was finished is kept. Run the same command with --resume to go on."
    elif "the same command again to resume" in " ".join((function.__doc__ or "").split()):
        told = "what was finished is kept. Run the same command again to go on."
    else:
        told = "stopped before it was done. The same command begins anew."
    assert str(caught.value).endswith(told)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"], ["--version"]])
def test_a_full_disk_behind_standard_output(arguments) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nstc", *arguments], stdout=full, stderr=subprocess.PIPE
        )
    told = done.stderr.decode()
    assert "Traceback" not in told
    assert done.returncode == OutputError.exit_code
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "verb",
    [
        "compress",
        "train",
        "import",
        "distill",
        "share",
        "analyze",
        "prune",
        "quantize",
        "export",
        "stylize",
        "bench",
        "models",
        "verify",
    ],
)
def test_every_verb_explains_itself_and_each_of_its_flags(nstc, flags_of, verb) -> None:
    done = nstc(verb, "--help")
    assert done.code == 0
    assert f"nstc {verb} " in done.out.splitlines()[0]
    assert nstc(verb, "-h").out == done.out
    listed = done.out.partition("Options:")[2]
    for flag in flags_of(verb):
        assert re.search(rf"{flag}\b.* {{2,}}\S", listed), f"{flag} has no help"


def test_help_loads_nothing_that_only_work_needs() -> None:
    program = (
        "import sys\nsys.argv = ['nstc', '--help']\nfrom nstc.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'PIL', 'filelock', 'msgspec', 'numpy', 'onnxruntime', 'torch'}\n"
        "print(sorted(heavy & {*sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("int8", "nstc quantize {} -o OUT --mode static"),
        ("dynamic", "nstc quantize {} -o OUT --mode dynamic"),
        ("weights-int4", "nstc quantize {} -o OUT --mode weights --bits 4"),
        ("pte", "nstc export {} --format executorch"),
        ("int8.pte", "nstc export {} --format executorch-int8"),
        ("float", "nstc export {} --format onnx"),
        ("ts", "nstc export {} --format torchscript"),
        ("512x256.onnx", "nstc export {} --static 512x256"),
        ("64x32.tflite", "nstc export {} --format litert --size 64x32"),
        ("64x32.mlpackage.zip", "nstc export {} --format coreml --size 64x32"),
        (
            "portable-bytes.64x32.onnx",
            "nstc export {} --format portable --size 64x32 --edges bytes",
        ),
        ("litert", "nstc export {} --format litert --size HEIGHTxWIDTH"),
    ],
)
def test_a_file_that_a_bundle_lacks_is_made_by_a_command(
    nstc, make_bundle, record, tmp_path, name, command
) -> None:
    bundle = make_bundle(tmp_path / "b", artifacts=[])
    with pytest.raises(ArtifactError) as caught:
        bundle.artifact(name)
    record(VERIFY, caught.value)
    done = nstc("verify", bundle.path)
    assert done.code == 23
    assert done.error == (
        f"nstc: {bundle.path} holds no artifact {name}; it holds none. "
        f"Make it with: {command.format(bundle.path)}"
    )


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("onnx", "nstc stylize PHOTO -m zoo:udnie/teacher --artifact onnx -o OUT"),
        ("int8", "nstc quantize zoo:udnie/teacher -o OUT --mode static"),
        ("64x32.onnx", "nstc export zoo:udnie/teacher -o OUT --static 64x32"),
        ("64x32.tflite", "nstc export zoo:udnie/teacher -o OUT --format litert --size 64x32"),
    ],
)
def test_of_a_shipped_one_beside_it(nstc, record, name, command) -> None:
    with pytest.raises(ArtifactError) as caught:
        open_bundle("zoo:udnie/teacher").artifact(name)
    record(VERIFY, caught.value)
    assert nstc("verify", "x").error.endswith(f"Make it with: {command}")
