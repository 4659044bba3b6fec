"""Where ONNX Runtime can compute on this machine, why not elsewhere, and how to ask for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnxruntime

from nstc.core.errors import MissingExtraError, OptionError
from nstc.runtime.onnx_session import ORT_ERRORS, first_line

CPU: Final = "cpu"
_CPU_PROVIDER: Final = "CPUExecutionProvider"
_SUFFIX: Final = "ExecutionProvider"
_FATAL: Final = 4

_REPLACE: Final = "pip uninstall onnxruntime && pip install {}"
_GPU: Final = _REPLACE.format("onnxruntime-gpu")

WAYS: Final[Mapping[str, str]] = {
    "cuda": f"needs an NVIDIA GPU and another build: {_GPU}",
    "tensorrt": f"needs an NVIDIA GPU, TensorRT and another build: {_GPU}",
    "openvino": f"needs another build: {_REPLACE.format('onnxruntime-openvino')}",
    "migraphx": f"needs an AMD GPU and another build: {_REPLACE.format('onnxruntime-migraphx')}",
    "dml": f"needs Windows and another build: {_REPLACE.format('onnxruntime-directml')}",
    "qnn": f"needs a Qualcomm chip: {_REPLACE.format('onnxruntime-qnn')}",
    "coreml": "needs macOS or iOS, whose builds of onnxruntime have it",
    "nnapi": "needs Android: onnxruntime-android has it",
    "xnnpack": "needs Android or iOS: onnxruntime-android and onnxruntime-objc have it",
    "webgpu": "needs a browser: onnxruntime-web has it",
    "webnn": "needs a browser: onnxruntime-web has it",
    "js": "needs a browser: onnxruntime-web has it",
}
"""What to do where the installed build is without one, by short name. Others have to be built."""

_UNKNOWN_WAY: Final = "has to be built from source"

_ELSEWHERE: Final = frozenset({"azure"})
"""Those that send data away: never tried."""

# The graph y = x, as onnx.helper would write it: this package does without onnx.
_IDENTITY: Final = (
    b'\x08\x07\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01g'
    b"Z\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A place to compute."""

    name: str  # as ONNX Runtime has it, without its ending: CPU, CUDA, CoreML
    reason: str | None  # why it can't be used here; None if it can

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"provider": self.name, "available": self.reason is None, "reason": self.reason}


def providers() -> tuple[Provider, ...]:
    """All that ONNX Runtime knows by name: those that work here first."""
    built = onnxruntime.get_available_providers()
    found = [_provider(name, built=name in built) for name in onnxruntime.get_all_providers()]
    return tuple(sorted(found, key=lambda own: own.reason is not None))


def available_providers() -> tuple[str, ...]:
    """Short names of what this build computes with: cpu, cuda, coreml and so on."""
    offered = (_short(name) for name in onnxruntime.get_available_providers())
    return tuple(sorted(name for name in offered if name not in _ELSEWHERE))


def provider_chain(name: str) -> tuple[str, ...]:
    """The providers to ask ONNX Runtime for: the wanted one, such as cuda, and the processor.

    Raises:
        OptionError: there is no provider of that name.
        MissingExtraError: it is not part of this installation; the message says what is.
    """
    wanted = name.lower()
    known = {_short(full): full for full in onnxruntime.get_all_providers()}
    if wanted not in known or wanted in _ELSEWHERE:
        names = ", ".join(sorted({*WAYS, *available_providers()}))
        raise OptionError(f"provider is {name}: expected one of {names}.")
    if wanted not in available_providers():
        raise MissingExtraError(
            f"provider {wanted} is not in the installed onnxruntime, which offers "
            f"{', '.join(available_providers())}: it {WAYS.get(wanted, _UNKNOWN_WAY)}."
        )
    return (known[wanted],) if wanted == CPU else (known[wanted], _CPU_PROVIDER)


def _provider(full: str, *, built: bool) -> Provider:
    name = full.removesuffix(_SUFFIX)
    if not built:
        way = WAYS.get(name.lower(), f"it {_UNKNOWN_WAY}")
        reason: str | None = f"not in this build of ONNX Runtime: {way}"
    elif name.lower() in _ELSEWHERE:
        reason = "sends pictures to a service on the network"
    else:
        reason = _tried(full)
    return Provider(name=name, reason=reason)


def _tried(full: str) -> str | None:
    """None if a graph really opens there; ONNX Runtime falls back to the CPU without an error."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    try:
        session = onnxruntime.InferenceSession(_IDENTITY, options, providers=[full])
    except ORT_ERRORS as error:
        return f"in this build, but does not start: {first_line(error)}"
    if session.get_providers()[0] != full:
        return "in this build, but does not start: its libraries or its device are missing"
    return None


def _short(full: str) -> str:
    return full.removesuffix(_SUFFIX).lower()
