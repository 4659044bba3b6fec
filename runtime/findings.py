"""What was found of a bundle's files, one by one."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from nstc.core.errors import NstcError

State = Literal["ok", "failed", "not checked"]
Check = Literal["content", "contract", "picture", "agreement"]


@dataclass(frozen=True)
class FileFinding:
    """One thing that was checked."""

    file: str  # of the bundle
    check: Check
    state: State
    detail: str  # in words: what was found, or why it was not checked
    error: NstcError | None = None  # why the bundle does not pass for it; `detail` is its text

    def renamed(self, written: str, shown: str) -> "FileFinding":
        """As it is, with another text in place of a path."""
        error = self.error and type(self.error)(str(self.error).replace(written, shown))
        return replace(self, detail=self.detail.replace(written, shown), error=error)


@dataclass(frozen=True)
class Verification:
    """All that was found of one bundle, by the order of its files' names."""

    model: str  # as it was asked for
    identity: str | None  # `Bundle.identity`; None of what can't be opened
    findings: tuple[FileFinding, ...]

    @property
    def errors(self) -> tuple[NstcError, ...]:
        """What is wrong with it, and behind that what should have been checked and was not."""
        found = sorted(self.findings, key=lambda own: own.state == "not checked")
        return tuple(own.error for own in found if own.error is not None)

    def shown_as(self, shown: str) -> "Verification":
        """As it is, with another text in place of the model's path."""
        findings = tuple(found.renamed(self.model, shown) for found in self.findings)
        return replace(self, model=shown, findings=findings)

    @property
    def summary(self) -> str:
        """How many findings are of which state, in words."""
        states = [found.state for found in self.findings]
        return ", ".join(f"{states.count(state)} {state}" for state in get_args(State))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        keys = ("file", "check", "state", "detail")
        findings = [{key: getattr(found, key) for key in keys} for found in self.findings]
        ok = not self.errors
        return {"model": self.model, "identity": self.identity, "ok": ok, "findings": findings}


def failed(file: str, check: Check, error: NstcError) -> FileFinding:
    """What makes a bundle not pass."""
    return FileFinding(file, check, "failed", str(error), error)
