"""nstc web-setup."""

from nstc.cli.output import say


def web_setup() -> None:
    """Fetch onnxruntime-web from npm, for nstc bench --target web."""
    from nstc.runtime.serving.web_runtime import install, runtime_version

    runtime = install()
    say(f"onnxruntime-web {runtime_version()} is in {runtime.folder}")
