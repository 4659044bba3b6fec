import json
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recipe_flags import rows_of

from nstc.compress.optimization.optimize_picture import OptimizedPicture
from nstc.core.recipe import OptimizeRecipe
from nstc.core.remote.fetching import FetchLimits

OPTIMIZE = "nstc.compress.optimization.optimize_picture.optimize"

FOR_THE_VERB = [
    ("--init", "zoo:starry-night", "init", "zoo:starry-night"),
    ("--photo-mask", "p.png", "photo_mask", Path("p.png")),
    ("--style-mask", "s.png", "style_mask", Path("s.png")),
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--preview-every", "7", "preview_every", 7),
    ("--resume", None, "resume", True),
    ("--max-download-mb", "2", "limits", FetchLimits(max_bytes=2_000_000)),
    ("--timeout", "4", "limits", FetchLimits(timeout_s=4.0)),
    ("--allow-private", None, "limits", FetchLimits(allow_private=True)),
]


@pytest.fixture
def made(tmp_path) -> OptimizedPicture:
    trace = [
        {"size": 64, "step": n, "style": 1.0, "style_loss": 1.0 / (n + 1), "content_loss": 0.1 * n}
        for n in range(3)
    ]
    return OptimizedPicture(
        path=tmp_path / "out.png",
        rgb=np.zeros((48, 64, 3), np.uint8),
        style=0.5,
        content=0.25,
        steps=3,
        seconds=1.6,
        trace=trace,
    )


@pytest.fixture
def optimize(nstc, record, made, tmp_path):
    """What `nstc optimize` asks of the library."""
    calls = record(OPTIMIZE, made)

    def run(*arguments):
        words = arguments or ("a.jpg",)
        done = nstc("optimize", "photo.jpg", *words, "-o", tmp_path / "out.png")
        assert done.code == 0, done.err
        return calls[-1]

    return run


CONTENT = (["--content-losses", "content=2"], "content_losses", "content=2")  # balanced by default


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [*(row for row in rows_of(OptimizeRecipe) if row[1] != CONTENT[1]), CONTENT],
)
def test_each_setting_arrives_in_the_recipe(optimize, words, field, value) -> None:
    assert optimize("a.jpg", *words)["recipe"] == OptimizeRecipe(**{field: value})


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(optimize, flag, text, field, value) -> None:
    assert optimize("a.jpg", *([flag] if text is None else [flag, text]))[field] == value


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {row[0] for row in FOR_THE_VERB}
    tested |= {f"--{name.replace('_', '-')}" for name in OptimizeRecipe.__dataclass_fields__}
    assert flags_of("optimize") == tested | {"--output", "--recipe", "--plot", "--json"}


@pytest.mark.parametrize(
    ("words", "weights"),
    [
        (["a.jpg"], {"a.jpg": 1.0}),
        (["a.jpg=2", "b.jpg=1"], {"a.jpg": 2.0, "b.jpg": 1.0}),
        (["a.jpg", "b=c.jpg=0.5"], {"a.jpg": 1.0, "b=c.jpg": 0.5}),
        (["https://x.org/a.jpg=2"], {"https://x.org/a.jpg": 2.0}),
        (["https://x.org/a?id=2"], {"https://x.org/a?id=2": 1.0}),
        (["HTTPS://x.org/a?id=2"], {"HTTPS://x.org/a?id=2": 1.0}),
        (["https://x.org/a?n=1&id=2"], {"https://x.org/a?n=1&id=2": 1.0}),
        (["https://x.org/a?id=2=3"], {"https://x.org/a?id=2": 3.0}),
        ([f"https://x.org/a?id={'b' * 300}=2"], {f"https://x.org/a?id={'b' * 300}": 2.0}),
        (["a.jpg=-1"], {"a.jpg": -1.0}),  # for the library to refuse
    ],
)
def test_paintings_and_their_weights(optimize, words, weights) -> None:
    assert optimize(*words)["painting"] == weights


def test_a_file_whose_name_ends_like_a_weight(optimize, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan=2").touch()
    assert optimize("scan=2")["painting"] == {"scan=2": 1.0}
    assert optimize("scan=2=3")["painting"] == {"scan=2": 3.0}


def test_a_recipe_file_and_flags_over_it(optimize, recipe_file) -> None:
    file = recipe_file('[optimize]\nsize = 128\ntime = "90s"\ncontent_losses = "content=2"\n')
    settings = {"size": 128, "content_losses": "content=2"}
    given = optimize("a.jpg", "--recipe", file, "--seed", "3")["recipe"]
    assert given == OptimizeRecipe(**settings, time="90s", seed=3)
    # a number of steps takes the place of the file's time
    given = optimize("a.jpg", "--recipe", file, "--steps", "9")["recipe"]
    assert given == OptimizeRecipe(**settings, steps=9)


def test_what_is_printed(nstc, record, made, tmp_path) -> None:
    record(OPTIMIZE, made)
    words = ["optimize", "photo.jpg", "a.jpg", "-o", tmp_path / "out.png"]
    assert nstc(*words).out == (
        f"wrote {tmp_path / 'out.png'}: style loss 0.500, content loss 0.250, 3 steps in 2 s\n"
    )
    plot = tmp_path / "plot.png"
    content = json.loads(nstc(*words, "--json", "--plot", plot).out)
    assert content == {"schema": "nstc.optimize/1", **made.to_dict()}
    with Image.open(plot) as curves:
        assert curves.size == (900, 420)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--steps", "5", "--time", "9s"], 3, "--steps and --time were both given"),
        (["--plot", "plot.docx"], 3, ".docx"),
        (["--plot", "out.png"], 3, "plot and output are both out.png"),
        (["--plot", "folder"], 3, "folder"),
        (["--plot", "photo.png"], 3, "plot is photo.png, which is an input too"),
        (["--plot", "photo.png/plot.png"], 40, "a file is where a folder is needed"),
        (["--timeout", "0"], 3, "timeout is 0"),
        (["a.jpg=1"], 3, "a.jpg was given twice"),
        (["b.jpg=1e+"], 3, "ends in a weight that is not a number"),
        (["--time", "5"], 3, "time is 5: expected at most a week, such as 90s"),
        (["--time", "200h"], 3, "time is 200h: expected at most a week"),
        (["--style-strength", "2.1"], 3, "style-strength is 2.1: expected a number from 0 to 2"),
        (["--style-strength", "nan"], 3, "style-strength is nan"),
        (["--style-weight", "-1"], 3, "style-weight is -1"),
        (["--style-weight", "0", "--content-weight", "0"], 3, "nothing would be optimised"),
        (["--content-losses", "laplacian=1"], 3, "add content=1, or give --no-balance"),
        (["--style-layers", "relu1_2"], 3, "style-layers is relu1_2: expected names and weights"),
        (["--recipe", "none.toml"], 4, "can't read the recipe none.toml"),
        (["--size", "many"], 2, "many"),
    ],
)
def test_what_is_refused_before_the_library_is_asked(
    nstc, record, made, save_picture, pixels, tmp_path, monkeypatch, words, code, said
) -> None:
    calls = record(OPTIMIZE, made)
    save_picture(pixels)
    monkeypatch.chdir(tmp_path)
    done = nstc("optimize", "photo.png", "a.jpg", "-o", "out.png", *words)
    assert (done.code, calls) == (code, [])
    assert said in done.error
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


class TestWithoutWork:
    """What the library refuses, as the command line shows it."""

    @pytest.fixture
    def refused(self, nstc, save_picture, pixels, tmp_path, monkeypatch):
        save_picture(pixels)
        save_picture(pixels[::-1], "painting.png")
        save_picture(pixels // 255 * 255, "map.png")
        monkeypatch.chdir(tmp_path)
        before = {path.name for path in tmp_path.iterdir()}

        def run(*words):
            done = nstc("optimize", *words)
            assert {path.name for path in tmp_path.iterdir()} == before
            return done.code, done.error

        return run

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["missing.png", "painting.png", "-o", "o.png"], 10, "there is no such file"),
            (["photo.png", "missing.png", "-o", "o.png"], 10, "there is no such file"),
            (["photo.png", "painting.png=0", "-o", "o.png"], 3, "the weight of painting.png is 0"),
            (["photo.png", "painting.png=nan", "-o", "o.png"], 3, "painting.png is nan"),
            (["photo.png", "painting.png", "-o", "o.xyz"], 3, ".xyz"),
            (["photo.png", "painting.png", "-o", "photo.png"], 3, "which is an input too"),
            (["photo.png", "painting.png", "-o", "photo.png/o.png"], 40, "a file is where"),
            (
                ["photo.png", "painting.png", "-o", "o.png", "--photo-mask", "map.png"],
                3,
                "one label map was given",
            ),
            (
                ["photo.png", "painting.png", "-o", "o.png", "--preview-every", "-1"],
                3,
                "preview-every is -1: expected a whole number of at least 1",
            ),
            (["photo.png", "painting.png", "-o", "o.png", "--init", "zoo:mona"], 20, "mona"),
        ],
    )
    def test_one_line_the_code_and_nothing_left(self, refused, words, code, said) -> None:
        found, message = refused(*words)
        assert found == code
        assert said in message

    def test_addresses(self, refused) -> None:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<html>no picture</html>")

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            address = f"http://127.0.0.1:{server.server_port}/a.jpg"
            words = [address, "painting.png", "-o", "o.png"]
            code, message = refused(*words)
            assert (code, "give --allow-private" in message) == (13, True)
            code, message = refused(*words, "--allow-private")
            assert (code, f"{address} is not a picture" in message) == (10, True)
            words = ["photo.png", f"{address}=2", "-o", "o.png", "--allow-private"]
            code, message = refused(*words)
            assert (code, f"{address} is not a picture" in message) == (10, True)
            server.shutdown()


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom nstc.cli.app import main\nsys.argv = ['nstc', 'optimize', '--help']\n"
        "try:\n    main()\nfinally:\n"
        "    assert not {'torch', 'onnxruntime', 'numpy', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--style-strength" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_ctrl_c_keeps_the_best_image_and_resume_continues(save_picture, pixels, tmp_path) -> None:
    save_picture(pixels)
    save_picture(pixels[::-1, ::-1], "painting.png")
    command = [sys.executable, "-m", "nstc", "optimize", "photo.png", "painting.png"]
    command += ["-o", "out.png", "--size", "53", "--no-balance"]
    log = tmp_path / "out.png.optimization" / "53px" / "losses.jsonl"
    started = subprocess.Popen(
        [*command, "--steps", "100000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        while not (log.is_file() and log.stat().st_size) and started.poll() is None:
            time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        error = started.communicate(timeout=300)[1].splitlines()[-1]
    finally:
        started.kill()
    assert started.returncode == 130
    assert error.endswith(
        "is kept. Run the same command with --resume to go on. "
        "The best image until then is in out.png."
    ), error
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (53, 37)
    done = subprocess.run(
        [*command, "--steps", "99999", "--resume"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, "other settings" in done.stderr) == (3, True)
    assert (log.parent / "checkpoint.safetensors").is_file()


def test_a_learning_rate_far_too_high(nstc, save_picture, pixels, tmp_path, monkeypatch) -> None:
    save_picture(pixels)
    save_picture(pixels[::-1, ::-1], "painting.png")
    monkeypatch.chdir(tmp_path)
    words = ["--size", "53", "--steps", "40", "--no-balance", "--optimizer", "lbfgs"]
    done = nstc(
        "optimize", "photo.png", "painting.png", "-o", "out.png", *words, "--learning-rate", "1000"
    )
    assert done.code == 50
    assert "Lower the learning rate" in done.error
    assert done.error.endswith("The best image until then is in out.png.")
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "painting.png", "out.png"}
