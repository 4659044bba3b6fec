"""Whether a bundle is what its manifest says, and still paints what it painted when it was made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from nstc.core.bundle import (
    MANIFEST_FILE,
    STYLE_FILE,
    WEIGHTS_FILE,
    Bundle,
    artifact_file,
    bundle_to_revise,
    read_manifest,
    revised_bundle,
)
from nstc.core.errors import CorruptBundleError, ExportMismatchError, NstcError, UnusableModelError
from nstc.core.manifest import Contract
from nstc.core.unusable_models import refuse_unusable_file
from nstc.core.zoo import refuse_shipped, resolve_model_path
from nstc.runtime import check_vectors
from nstc.runtime.agreement import MOST_FAR_SHARE, NEAR_LEVELS, Difference
from nstc.runtime.arrays import refuse_one_colour
from nstc.runtime.check_vectors import CHECKS_FILE, SIZE, CheckVector, read_check_vectors
from nstc.runtime.foreign.trial import PROGRAMS, is_ours
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import BACKENDS, Session, refuse_unsafe

State = Literal["ok", "failed", "not checked"]
Check = Literal["content", "contract", "picture"]


@dataclass(frozen=True)
class FileFinding:
    """One thing that was looked at."""

    file: str  # of the bundle
    check: Check
    state: State
    detail: str  # in words: what was found, or why nobody looked
    error: NstcError | None = None  # what is wrong, of one that failed

    def to_dict(self) -> dict[str, str]:
        """Plain JSON values, without the error, whose text is the detail."""
        return {name: value for name, value in vars(self).items() if name != "error"}


@dataclass(frozen=True)
class Verification:
    """All that was found of one bundle, by the order of its files' names."""

    model: str  # as it was asked for
    identity: str | None  # `Bundle.identity`; None of what can't be opened
    findings: tuple[FileFinding, ...] = field(default=())

    @property
    def errors(self) -> tuple[NstcError, ...]:
        """What is wrong with it."""
        return tuple(found.error for found in self.findings if found.error is not None)

    @property
    def summary(self) -> str:
        """How many findings are of which state, in words."""
        states = [found.state for found in self.findings]
        return ", ".join(f"{states.count(state)} {state}" for state in get_args(State))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.model,
            "identity": self.identity,
            "ok": not self.errors,
            "findings": [found.to_dict() for found in self.findings],
        }


def verify(model: str | Path, *, trust: bool = False) -> Verification:
    """Look at every file of a bundle; what is wrong is told, not raised.

    Every file is held to the manifest's hash. Each that runs is opened, held to the contract, and
    held to its check vector where the bundle brings one. `trust` lets TorchScript and ExecuTorch
    files of others, which are programs, run.

    Raises:
        BundleError: there is no bundle of that name.
        SchemaVersionError: a newer nstc wrote it.
    """
    try:
        manifest = read_manifest(model)
    except CorruptBundleError as error:
        return Verification(str(model), None, (_failed(MANIFEST_FILE, "content", error),))
    bundle = Bundle(resolve_model_path(model), manifest)
    sound = "the seal is whole, the schema is known"
    findings = [FileFinding(MANIFEST_FILE, "content", "ok", sound), *_contents(bundle)]
    whole = {found.file for found in findings if found.state == "ok"}
    vectors: Mapping[str, CheckVector] = {}
    if CHECKS_FILE in whole:
        try:
            vectors = read_check_vectors(bundle)
        except CorruptBundleError as error:
            findings.append(_failed(CHECKS_FILE, "content", error))
    for artifact in bundle.artifacts:
        if artifact_file(artifact) in whole:
            findings += _runs(bundle, artifact, vectors.get(artifact), trust=trust)
    identity = bundle.identity if WEIGHTS_FILE in manifest.files else None
    return Verification(str(model), identity, tuple(findings))


def record(model: str | Path, *, trust: bool = False) -> tuple[str, ...]:
    """Let every file of a bundle paint, and keep that in the bundle as its check vectors.

    The bundle is replaced in one step; for `trust` see `verify`. Returns the artifacts that have a
    vector now.

    Raises:
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
        OutputError: the place can't be written, or the bundle ships with nstc.
        NstcError: a file does not run.
    """
    with bundle_to_revise(model) as bundle:
        refuse_shipped(bundle.path, "verify it without --record.")
        chosen = [
            name for name in bundle.artifacts if not _reason_not_to_run(bundle, name, trust=trust)
        ]
        for name in chosen:
            refuse_unsafe(bundle, name, trust=trust)
        with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
            (draft / CHECKS_FILE).unlink(missing_ok=True)
            check_vectors.write_check_vectors(draft, chosen, _still_true(bundle, without=chosen))
        return tuple(chosen)


def _still_true(bundle: Bundle, *, without: Sequence[str]) -> dict[str, CheckVector]:
    """Vectors of files that are not run now, such as programs that were not trusted, and fit."""
    try:
        vectors = read_check_vectors(bundle)
    except CorruptBundleError:  # which is what they are written anew for
        return {}
    files = bundle.manifest.files
    return {
        name: vector
        for name, vector in vectors.items()
        if name not in without
        and name in bundle.artifacts
        and files[artifact_file(name)].sha256 == vector.file_sha256
    }


def _contents(bundle: Bundle) -> Iterator[FileFinding]:
    if WEIGHTS_FILE not in bundle.manifest.files:
        error = CorruptBundleError(f"{bundle.path} names no {WEIGHTS_FILE}: it is no whole bundle.")
        yield _failed(WEIGHTS_FILE, "content", error)
    for name, record_ in sorted(bundle.manifest.files.items()):
        try:
            path = bundle.file(name)
            if name.endswith(".safetensors"):
                refuse_unusable_file(path, statistics=name == STYLE_FILE)
        except (CorruptBundleError, UnusableModelError) as error:
            yield _failed(name, "content", error)
        else:
            detail = f"{record_.size_bytes} bytes as they were written"
            yield FileFinding(name, "content", "ok", detail)
    known = {MANIFEST_FILE, *bundle.manifest.files}
    for path in sorted(bundle.path.iterdir()):
        if path.name not in known:
            yield FileFinding(path.name, "content", "not checked", "the manifest does not name it")


def _runs(
    bundle: Bundle, artifact: str, vector: CheckVector | None, *, trust: bool
) -> Iterator[FileFinding]:
    """The file's contract and its picture."""
    file = artifact_file(artifact)
    reason = _reason_not_to_run(bundle, artifact, trust=trust)
    if reason is not None:
        yield FileFinding(file, "picture", "not checked", reason)
        return
    try:
        refuse_unsafe(bundle, artifact, trust=trust)
        session = BACKENDS[artifact.rpartition(".")[2]].open(bundle.path / file, artifact, None)
        yield _contract(session, bundle.manifest.contract)
    except NstcError as error:
        yield _failed(file, "contract", error)
        return
    try:
        yield _picture(session, vector, bundle.manifest.files[file].sha256)
    except NstcError as error:
        yield _failed(file, "picture", error)


def _reason_not_to_run(bundle: Bundle, artifact: str, *, trust: bool) -> str | None:
    ending = artifact.rpartition(".")[2]
    if ending not in BACKENDS:
        return f"nothing here runs .{ending} files"
    ours = is_ours(bundle.manifest.files[artifact_file(artifact)].sha256)
    if ending in PROGRAMS and not trust and not ours:
        return f"it is {PROGRAMS[ending]}, a program: give --trust if you know where it comes from"
    return BACKENDS[ending].availability()


def _contract(session: Session, contract: Contract) -> FileFinding:
    """Whether a file takes and gives what the manifest promises, at the sizes it promises."""
    file = session.path.name
    form = f"{contract.dtype} {contract.layout}"
    if isinstance(session, OnnxSession):
        bytes_promised = session.artifact.startswith("int8.")
        if session.bytes_in_and_out != bytes_promised:
            expected = "uint8 NHWC" if bytes_promised else form
            raise CorruptBundleError(f"{session.path} does not take {expected}, as it should.")
        form = "uint8 NHWC" if bytes_promised else form
    size = getattr(session, "fixed_size", None)
    for height, width in (size,) if size else ((1, 1), SIZE):
        painted = session.run(check_vectors.check_picture(0, height, width))
        refuse_one_colour(painted, session.path)
        if painted.shape != (height, width, 3):
            made = "x".join(map(str, painted.shape[:2]))
            raise CorruptBundleError(
                f"{session.path} makes a picture of {made} of one of {height}x{width}."
            )
    sizes = f"pictures of {size[0]}x{size[1]} only" if size else "pictures of any size"
    return FileFinding(file, "contract", "ok", f"{form} in and out, {sizes}")


def _picture(session: Session, vector: CheckVector | None, file_sha256: str) -> FileFinding:
    file = session.path.name
    if vector is None:
        return FileFinding(file, "picture", "not checked", "the bundle holds no check vector of it")
    if vector.file_sha256 != file_sha256:
        return FileFinding(file, "picture", "not checked", "the check vector is of an older file")
    size = vector.height, vector.width
    if size not in (SIZE, getattr(session, "fixed_size", None)):
        raise CorruptBundleError(
            f"the check vector of {session.path} is of a picture of {size[0]}x{size[1]}, which "
            "nstc does not write. Write it anew with  nstc verify BUNDLE --record."
        )
    painted = session.run(vector.picture())
    if check_vectors.digest_of(painted) == vector.painted_sha256:
        return FileFinding(file, "picture", "ok", "as its check vector, bit for bit")
    kept = painted[:: vector.stride, :: vector.stride]
    off = Difference.between(kept, vector.kept)
    if off.far_share > MOST_FAR_SHARE:
        raise ExportMismatchError(
            f"{session.path} paints another picture here than where it was made: "
            f"{off.far_share:.1%} of its values are more than {NEAR_LEVELS}/255 off its check "
            f"vector, the worst by {off.worst}; at most {MOST_FAR_SHARE:.1%} may be. "
            "Do not use it on this machine."
        )
    return FileFinding(file, "picture", "ok", f"as its check vector, at most {off.worst}/255 off")


def _failed(file: str, check: Check, error: NstcError) -> FileFinding:
    return FileFinding(file, check, "failed", str(error), error)
