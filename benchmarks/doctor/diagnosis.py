"""What this machine can run, found without loading anything heavy."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nstc.benchmarks.timing.machine import machine_facts
from nstc.core.extras import Extra, extras
from nstc.runtime.onnx_session import Provider, providers

# By the name that Linux gives the instruction set, the best first.
_FAST_INT8: Final[Mapping[str, str]] = {
    "amx_int8": "AMX: products of int8 matrices in one instruction",
    "avx512_vnni": "VNNI: four int8 products in one instruction",
    "avx_vnni_int8": "VNNI: four int8 products in one instruction",
    "avx_vnni": "VNNI: four int8 products in one instruction",
    "i8mm": "int8 matrix products in one instruction",
    "asimddp": "dot products: four int8 products in one instruction",
}
_SLOW_INT8: Final[Mapping[str, str]] = {
    "avx512bw": "no VNNI: int8 gains less over float here, and paints the same",
    "avx2": "no VNNI: int8 gains less over float here, and paints the same",
    "asimd": "no dot products: int8 gains less over float here, and paints the same",
}


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found."""

    machine: Mapping[str, Any]  # see `nstc.benchmarks.timing.machine.machine_facts`
    threads: int  # processors that the system has; `machine` says how many this process may use
    int8: str  # how fast int8 is here, in words
    providers: tuple[Provider, ...]  # of ONNX Runtime
    extras: tuple[Extra, ...]  # of nstc

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "machine": {**self.machine, "threads": self.threads, "int8_speed": self.int8},
            "providers": [own.to_dict() for own in self.providers],
            "extras": [own.to_dict() for own in self.extras],
        }

    def facts(self) -> list[tuple[str, str]]:
        """The machine, for a table."""
        tools = self.machine["tools"]
        return [
            ("processor", f"{self.machine['cpu']} ({self.machine['arch']})"),
            ("threads", f"{self.machine['cores']} of {self.threads} for this process"),
            ("instructions", ", ".join(self.machine["int8"]) or "not known on this system"),
            ("int8", self.int8),
            ("system", str(self.machine["os"])),
            ("versions", ", ".join(f"{name} {version}" for name, version in tools.items())),
        ]


def diagnose() -> Diagnosis:
    """Look."""
    facts = machine_facts()
    return Diagnosis(
        machine=facts,
        threads=os.cpu_count() or 1,
        int8=int8_speed(facts["int8"]),
        providers=providers(),
        extras=extras(),
    )


def int8_speed(instructions: Sequence[str]) -> str:
    """How fast int8 is where these instruction sets are, in words."""
    for known in (_FAST_INT8, _SLOW_INT8):
        for name, words in known.items():
            if name in instructions:
                return f"{words} ({name})"
    return "not known: this system does not list its instruction sets"
