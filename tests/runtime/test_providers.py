import onnxruntime
import pytest

from nstc.core.errors import MissingExtraError, OptionError
from nstc.runtime import onnx_session, session
from nstc.runtime.onnx_session import available_providers, provider_chain


@pytest.fixture
def offered(monkeypatch):
    def offer(*names: str) -> None:
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))

    return offer


def test_short_names_of_what_computes_here(offered) -> None:
    offered("CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider")
    assert available_providers() == ("cpu", "cuda")


def test_the_wanted_one_first_and_the_processor_for_the_rest(offered) -> None:
    offered("CUDAExecutionProvider", "CPUExecutionProvider")
    assert provider_chain("CUDA") == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert provider_chain("cpu") == ("CPUExecutionProvider",)


@pytest.mark.parametrize(
    ("name", "line"), [("cuda", "pip install onnxruntime-gpu"), ("coreml", "macOS")]
)
def test_one_that_is_not_installed_says_what_is_needed(offered, name, line) -> None:
    offered("CPUExecutionProvider")
    with pytest.raises(MissingExtraError, match=f"offers cpu: it needs .*{line}"):
        provider_chain(name)


def test_an_unknown_name_lists_those_there_are(offered) -> None:
    offered("CPUExecutionProvider")
    with pytest.raises(OptionError, match=r"provider is tpu: expected one of .*cpu, cuda"):
        provider_chain("tpu")


def test_a_silent_fall_back_is_refused(offered, bundle, monkeypatch) -> None:
    """An onnxruntime-gpu without its CUDA libraries runs on the processor and only warns."""
    offered("CUDAExecutionProvider", "CPUExecutionProvider")
    monkeypatch.setattr(onnx_session, "WAYS", {})
    with pytest.raises(MissingExtraError, match="fell back to CPUExecutionProvider"):
        session.open_session(bundle, provider="cuda")
