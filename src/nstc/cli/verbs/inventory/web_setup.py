"""nstc web-setup."""

from nstc.cli.output import say


def web_setup() -> None:
    """Fetch onnxruntime-web from npm, to run models in browsers."""
    from nstc.runtime.serving.web_runtime import install, runtime_version

    runtime = install()
    say(f"onnxruntime-web {runtime_version()} is in {runtime.folder}")
