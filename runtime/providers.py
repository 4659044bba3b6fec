"""Where ONNX Runtime can compute: the processor, or whatever else this installation offers."""

from typing import Final

import onnxruntime

from nstc.core.errors import MissingExtraError, OptionError

CPU: Final = "cpu"
_CPU_PROVIDER: Final = "CPUExecutionProvider"
_ENDING: Final = "ExecutionProvider"

_INSTALLING: Final = {
    "cuda": "pip uninstall -y onnxruntime, then pip install onnxruntime-gpu",
    "tensorrt": "pip uninstall -y onnxruntime, then pip install onnxruntime-gpu and tensorrt",
    "dml": "pip uninstall -y onnxruntime, then pip install onnxruntime-directml (Windows)",
    "openvino": "pip uninstall -y onnxruntime, then pip install onnxruntime-openvino",
    "coreml": "nothing to install: onnxruntime has it on macOS",
    "migraphx": "pip uninstall -y onnxruntime, then AMD's build of onnxruntime-migraphx",
    "qnn": "pip uninstall -y onnxruntime, then pip install onnxruntime-qnn",
    "xnnpack": "a build of ONNX Runtime with XNNPACK, as the packages for Android and iOS are",
}
"""What gives a provider that is not there, by its short name. The packages overwrite each other."""


def available_providers() -> tuple[str, ...]:
    """Short names of what computes on this machine: cpu, cuda, coreml and so on."""
    offered = onnxruntime.get_available_providers()
    # Azure's sends pictures elsewhere, and needs a model of its own
    return tuple(sorted(_short(name) for name in offered if not name.startswith("Azure")))


def provider_chain(name: str) -> tuple[str, ...]:
    """The providers to ask ONNX Runtime for: the wanted one, and the processor for the rest.

    Args:
        name: A short name such as cpu or cuda.

    Raises:
        OptionError: there is no provider of that name.
        MissingExtraError: it is not part of this installation; the message says what is.
    """
    wanted = name.lower()
    known = {_short(full): full for full in onnxruntime.get_all_providers()}
    if wanted not in known or wanted == "azure":
        names = ", ".join(sorted({*_INSTALLING, *available_providers()}))
        raise OptionError(f"provider is {name}: expected one of {names}.")
    if wanted not in available_providers():
        how = _INSTALLING.get(wanted, "an ONNX Runtime that was built with it")
        raise MissingExtraError(
            f"provider {wanted} is not in the installed onnxruntime, which offers "
            f"{', '.join(available_providers())}. It needs: {how}."
        )
    return (known[wanted],) if wanted == CPU else (known[wanted], _CPU_PROVIDER)


def _short(full: str) -> str:
    return full.removesuffix(_ENDING).lower()
