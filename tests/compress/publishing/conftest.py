"""A hub on this machine, and a bundle that verifies."""

import dataclasses
from pathlib import Path

import pytest
from stub_hub import TOKEN, StubHub, stub_hub

from nstc.core.bundle import Bundle, bundle_to_revise, open_bundle, revised_bundle
from nstc.core.manifest import Origin, Step
from nstc.runtime.verification import record

__all__ = ["stub_hub"]  # a fixture


@pytest.fixture
def verified(bundle: Bundle, tmp_path: Path) -> Bundle:
    """Distilled from a file of this machine."""
    path = str(tmp_path / "secret" / "mosaic.onnx")
    teacher = Origin(name="mosaic", sha256="0" * 64, path=path)
    step = Step(verb="distill", recipe={"teacher": path, "steps": 3})
    with bundle_to_revise(bundle) as own:
        manifest = dataclasses.replace(own.manifest, teacher=teacher, history=(step,))
        with revised_bundle(own, own.path, manifest) as draft:
            (draft / "README.md").write_text(f"# A night\n\nTaught by {path}.\n")
    record(bundle.path)
    return open_bundle(bundle.path)


@pytest.fixture
def logged_in(stub_hub: StubHub, monkeypatch: pytest.MonkeyPatch) -> StubHub:
    """The hub, and a token for it."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return stub_hub
