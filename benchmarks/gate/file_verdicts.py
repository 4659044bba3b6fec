"""Verdicts on every file that a model releases, whether a row measures it or not.

Rows judge few files, at one size. Here each file is held to the file that it must equal, at several
sizes, and an integer file to the pictures that the baseline keeps of it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from nstc.benchmarks.gate.baseline import Baseline, KnownModel
from nstc.benchmarks.gate.integer_pictures import hashes
from nstc.benchmarks.gate.keys import FileKey
from nstc.benchmarks.gate.verdicts import NEWER, UPDATE, Finding, Verdict
from nstc.benchmarks.subjects import Subject
from nstc.core.bundle import Bundle
from nstc.core.errors import ExportMismatchError
from nstc.runtime.agreement import CheckPictures, is_integer
from nstc.runtime.arrays import Transfer
from nstc.runtime.verification import reason_not_to_run

AGREEMENT: Final = "agreement"  # with the file that it must equal, or the network of its weights
PICTURES: Final = "pictures"  # how many are those of the baseline, bit for bit
# What may explain other pictures, by whether the network is that of the baseline.
_CAUSES: Final = {
    True: "weights and ranges are those of the baseline, so the file was exported anew, or this "
    "ONNX Runtime computes it otherwise",
    False: "weights, ranges or layers are not those of the baseline",
}

NetworkOf = Callable[[Bundle], Transfer]
"""The network of a bundle's weights as a function of pictures."""


def verdicts_on_files(
    known: KnownModel, model: Subject, baseline: Baseline, network_of: NetworkOf | None = None
) -> tuple[list[Finding], list[str]]:
    """Verdicts on the files of a model that stands for one of the baseline's, and notes.

    Files that no other file of the bundle can be compared with are held to what `network_of` gives.
    A network made by others releases no files. Raises what `Subject.open` and `Session.run` do.
    """
    bundle = model.bundle
    if bundle is None:
        return [], []
    reasons = {own: reason_not_to_run(bundle, own, trust=model.trust) for own in bundle.artifacts}
    opened = [name for name, reason in reasons.items() if reason is None]
    pictures = CheckPictures(bundle, {name: model.open(name, threads=1) for name in opened})
    network = None if network_of is None or not opened else network_of(bundle)
    findings: list[Finding] = []
    for name in opened:
        findings += _agreement(FileKey(model=known.place, artifact=name), pictures, network)
    integer = {name: hashes(pictures, name) for name in opened if is_integer(bundle, name)}
    findings += _pictures(known, model, integer, baseline)
    notes = [
        f"{name} of {model} was not compared: {reason}"
        for name, reason in reasons.items()
        if reason is not None
    ]
    return findings, notes


def _agreement(
    key: FileKey, pictures: CheckPictures, network: Transfer | None
) -> Iterator[Finding]:
    """Whether a file gives what it must, if anything says what that is."""
    try:
        detail = pictures.agreement(key.artifact, network)
    except ExportMismatchError as error:
        yield Finding(key, AGREEMENT, Verdict.REGRESSED, None, None, str(error))
    else:
        if detail is not None:
            yield Finding(key, AGREEMENT, Verdict.PASS, None, None, detail)


def _pictures(
    known: KnownModel,
    model: Subject,
    integer: Mapping[str, Mapping[str, str]],
    baseline: Baseline,
) -> Iterator[Finding]:
    """Whether integer files give the baseline's pictures; `integer` are hashes by artifact."""
    stored = {own.artifact: own.pictures for own in baseline.files if own.model == known.place}
    # An update of other models alone leaves rows of integer files without their pictures.
    is_older = not stored and any(row.artifact in integer for row in baseline.rows_of(known))
    for artifact in sorted({*stored, *integer}):
        before, now = stored.get(artifact), integer.get(artifact)
        counts = [None if own is None else len(own) for own in (before, now)]
        if before is not None and now is not None and before.keys() == now.keys():
            other = [size for size, own in now.items() if own != before[size]]
            counts = [len(now), len(now) - len(other)]
            verdict, why = Verdict.PASS, "the same, bit for bit"
            if other:
                verdict = Verdict.CHANGED
                cause = _CAUSES[model.identity == known.sha256]
                why = f"another picture at {', '.join(other)}: {cause}. If it is meant: {UPDATE}"
        elif before is not None:
            verdict = Verdict.INCOMPARABLE
            what = "no integer file of the model now" if now is None else "now of other sizes"
            why = f"in the baseline, and {what}: make it again, or {UPDATE}"
        elif baseline.files and not is_older:
            verdict, why = Verdict.MISSING_BASELINE, f"not in the baseline: {UPDATE}"
        else:
            verdict, why = Verdict.NOT_JUDGED, NEWER
        key = FileKey(model=known.place, artifact=artifact)
        yield Finding(key, PICTURES, verdict, counts[0], counts[1], why)
