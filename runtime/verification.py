"""Whether a bundle is what its manifest says, and still gives the pictures it gave when made.

Check vectors: a picture made from a seed goes into each runnable file; what came out is kept in the
bundle's `checks.json`, so that another machine, or another runtime, can compare. The picture itself
is not kept, and of a large result only every so many rows and columns:

    {"schema": "nstc.checks/1", "vectors": {"int8.onnx": {"seed": 0, "height": 45, ...}}}
"""

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
import numpy as np

from nstc.core import bundle as bundles
from nstc.core import images, unusable_models, zoo
from nstc.core.bundle import MANIFEST_FILE, WEIGHTS_FILE, Bundle, artifact_file
from nstc.core.decoding import Count, DecodingError, Name, Sha256, decode, parse_json, read_file
from nstc.core.errors import CorruptBundleError, ExportMismatchError, NstcError, UnusableModelError
from nstc.core.files import sha256_of, write_text
from nstc.runtime import arrays
from nstc.runtime.agreement import CheckPictures
from nstc.runtime.arrays import CHECK_SEED, CHECK_SIZE, check_picture, refuse_one_colour
from nstc.runtime.foreign.trial import PROGRAMS, is_ours
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import BACKENDS, Session, refuse_unsafe

CHECKS_FILE: Final = "checks.json"
SCHEMA: Final = "nstc.checks/1"

_MOST_POSITIONS: Final = 4096
_MOST_PIXELS: Final = 2**24  # of the picture of a file that takes one size only

_Side = Annotated[int, msgspec.Meta(ge=1, le=16384)]
State = Literal["ok", "failed", "not checked"]
Check = Literal["content", "contract", "picture", "agreement"]


@dataclass(frozen=True, kw_only=True)
class CheckVector:
    """What one file gave for the picture of a seed."""

    file_sha256: Sha256  # of the file that ran: a file made anew has no vector
    seed: Count
    height: _Side
    width: _Side
    picture_sha256: Sha256  # of the picture that went in: whether it could be made again
    painted_sha256: Sha256  # of the result
    stride: _Side  # every so many rows and columns of the result are kept
    values: bytes  # the bytes of those, compressed by zlib; in JSON in base 64

    @property
    def kept(self) -> images.Pixels:
        """What is kept of the result, (rows, columns, 3) uint8; no more of it is unpacked.

        `DecodingError` if the numbers contradict one another.
        """
        rows, columns = -(-self.height // self.stride), -(-self.width // self.stride)
        if self.height * self.width > _MOST_PIXELS or rows * columns > _MOST_POSITIONS:
            raise DecodingError(
                f"a picture of {self.height}x{self.width} with every {self.stride}th row and "
                "column kept is more than nstc writes"
            )
        size = rows * columns * 3
        unpacked = zlib.decompressobj().decompress(self.values, size + 1)
        if len(unpacked) != size:
            raise DecodingError(f"it has {len(unpacked)} values where {size} are expected")
        return np.frombuffer(unpacked, np.uint8).reshape(rows, columns, 3)

    def picture(self) -> images.Pixels:
        """The picture that went in, made again; `CorruptBundleError` if it comes out different."""
        rgb = check_picture(self.seed, self.height, self.width)
        if digest_of(rgb) != self.picture_sha256:
            raise CorruptBundleError(
                f"the picture of {CHECKS_FILE} can't be made again by this numpy "
                f"{np.__version__}: write the vectors anew with  nstc verify BUNDLE --record."
            )
        return rgb


@dataclass(frozen=True, kw_only=True)
class _Checks:
    """The whole file."""

    schema: Literal["nstc.checks/1"]
    vectors: Annotated[Mapping[Name, CheckVector], msgspec.Meta(max_length=100)]


def check_vector(session: Session) -> CheckVector:
    """Run a file on the check picture, and keep what it gives; `NstcError` if it does not run.

    `UnusableModelError` if it gives one colour throughout, or values that are not finite.
    """
    height, width = getattr(session, "fixed_size", None) or CHECK_SIZE
    rgb = check_picture(CHECK_SEED, height, width)
    stylised = session.run(rgb)
    refuse_one_colour(stylised, session.path)
    # the least odd one that keeps few enough: an even one would meet only every other pixel of the
    # checkerboards that networks leave
    stride = 1
    while -(-height // stride) * -(-width // stride) > _MOST_POSITIONS:
        stride += 2
    return CheckVector(
        file_sha256=sha256_of(session.path),
        seed=CHECK_SEED,
        height=height,
        width=width,
        picture_sha256=digest_of(rgb),
        painted_sha256=digest_of(stylised),
        stride=stride,
        values=zlib.compress(stylised[::stride, ::stride].tobytes(), 9),
    )


def read_check_vectors(bundle: Bundle) -> Mapping[str, CheckVector]:
    """The vectors that a bundle holds, by artifact; none if it came without.

    `CorruptBundleError` if its `checks.json` was changed, or this nstc can't read it.
    """
    if CHECKS_FILE not in bundle.manifest.files:
        return {}
    path = bundle.file(CHECKS_FILE)
    try:
        content = parse_json(read_file(path), one_line_texts=True)
        checks = decode(content, _Checks, known_keys_only=False)
        for vector in checks.vectors.values():
            _ = vector.kept  # raises for what is wrong
    except (OSError, DecodingError, zlib.error) as error:
        raise CorruptBundleError(
            f"{path} can't be read: {error}. Write it anew with  nstc verify "
            f"{bundle.path} --record, or upgrade nstc."
        ) from error
    return checks.vectors


def write_check_vectors(
    folder: Path, artifacts: Iterable[str], known: Mapping[str, CheckVector]
) -> None:
    """Run files of a bundle that is being made, and write its `checks.json`.

    `known` are vectors to keep; those of files that are no longer in the folder are left out.
    `NstcError` if a file does not run, or `checks.json` can't be written.
    """
    vectors = {name: own for name, own in known.items() if (folder / artifact_file(name)).is_file()}
    for name in artifacts:
        backend = BACKENDS[name.rpartition(".")[2]]
        vectors[name] = check_vector(backend.open(folder / artifact_file(name), name, None))
    content = {"schema": SCHEMA, "vectors": msgspec.to_builtins(vectors)}
    write_text(folder / CHECKS_FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")


def digest_of(rgb: images.Pixels) -> str:
    """SHA-256 of a picture's bytes, rows first."""
    return hashlib.sha256(np.ascontiguousarray(rgb).tobytes()).hexdigest()


@dataclass(frozen=True)
class FileFinding:
    """One thing that was checked."""

    file: str  # of the bundle
    check: Check
    state: State
    detail: str  # in words: what was found, or why it was not checked
    error: NstcError | None = None  # why the bundle does not pass for it; `detail` is its text


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


def verify(model: str | Path, *, trust: bool = False) -> Verification:
    """Check every file of a bundle; what is wrong is reported, not raised.

    Every file is held to the manifest's hash; each that runs to the contract, to its check vector,
    without which nothing says which picture is right, and to the other files of the bundle. `trust`
    lets programs of others run.

    Raises:
        BundleError: there is no bundle of that name.
        SchemaVersionError: a newer nstc wrote it.
    """
    try:
        manifest = bundles.read_manifest(model)
    except CorruptBundleError as error:
        return Verification(str(model), None, (_failed(MANIFEST_FILE, "content", error),))
    bundle = Bundle(zoo.resolve_model_path(model), manifest)
    sound = "the seal is whole, the schema is known"
    findings = [FileFinding(MANIFEST_FILE, "content", "ok", sound), *_contents(bundle)]
    whole = {found.file for found in findings if found.state == "ok"}
    vectors: Mapping[str, CheckVector] = {}
    try:
        vectors = read_check_vectors(bundle) if CHECKS_FILE in whole else {}
    except CorruptBundleError as error:
        findings.append(_failed(CHECKS_FILE, "content", error))
    opened: dict[str, Session] = {}
    for artifact in bundle.artifacts:
        if artifact_file(artifact) in whole:
            findings += _runs(bundle, artifact, vectors.get(artifact), opened, trust=trust)
    findings += _agreements(bundle, opened)
    identity = bundle.identity if WEIGHTS_FILE in manifest.files else None
    return Verification(str(model), identity, tuple(findings))


def record(model: str | Path, *, trust: bool = False) -> tuple[str, ...]:
    """Run every file of a bundle, and keep what they give in it as its check vectors.

    The bundle is replaced in one step; for `trust` see `verify`. Returns the artifacts that have a
    vector now.

    Raises:
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
        OutputError: the bundle can't be written, or is included in nstc.
        NstcError: a file does not run.
    """
    with bundles.bundle_to_revise(model) as bundle:
        zoo.refuse_shipped(bundle.path, "verify it without --record.")
        chosen = []
        for name in bundle.artifacts:
            if reason_not_to_run(bundle, name, trust=trust) is None:
                refuse_unsafe(bundle, name, trust=trust)
                chosen.append(name)
        with bundles.revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
            (draft / CHECKS_FILE).unlink(missing_ok=True)
            write_check_vectors(draft, chosen, _still_true(bundle, without=chosen))
        return tuple(chosen)


def _still_true(bundle: Bundle, *, without: Sequence[str]) -> dict[str, CheckVector]:
    """Vectors of files that are not run now, such as programs that were not trusted, and fit."""
    try:
        vectors = read_check_vectors(bundle)
    except CorruptBundleError:  # which is what they are written anew for
        return {}
    hashes = {name: bundle.manifest.files[artifact_file(name)].sha256 for name in bundle.artifacts}
    return {
        name: vector
        for name, vector in vectors.items()
        if name not in without and hashes.get(name) == vector.file_sha256
    }


def _contents(bundle: Bundle) -> Iterator[FileFinding]:
    """Whether the files are those that were sealed."""
    if WEIGHTS_FILE not in bundle.manifest.files:
        error = CorruptBundleError(f"{bundle.path} names no {WEIGHTS_FILE}: it is incomplete.")
        yield _failed(WEIGHTS_FILE, "content", error)
    for name, entry in sorted(bundle.manifest.files.items()):
        try:
            path = bundle.file(name)
            if name.endswith(".safetensors"):
                unusable_models.refuse_unusable_file(path, statistics=name == bundles.STYLE_FILE)
        except (CorruptBundleError, UnusableModelError) as error:
            yield _failed(name, "content", error)
        else:
            detail = f"{entry.size_bytes} bytes as they were written"
            yield FileFinding(name, "content", "ok", detail)
    known = {MANIFEST_FILE, *bundle.manifest.files}
    for path in sorted(bundle.path.iterdir()):
        if path.name not in known:
            yield FileFinding(path.name, "content", "not checked", "the manifest does not name it")


def _runs(
    bundle: Bundle,
    artifact: str,
    vector: CheckVector | None,
    opened: dict[str, Session],
    *,
    trust: bool,
) -> Iterator[FileFinding]:
    """The file's contract and its picture; a file that keeps its contract joins those `opened`."""
    file = artifact_file(artifact)
    reason = reason_not_to_run(bundle, artifact, trust=trust)
    if reason is not None:
        yield FileFinding(file, "picture", "not checked", reason)
        return
    check: Check = "contract"
    try:
        refuse_unsafe(bundle, artifact, trust=trust)
        session = BACKENDS[artifact.rpartition(".")[2]].open(bundle.path / file, artifact, None)
        yield FileFinding(file, check, "ok", _kept_contract(session, bundle))
        opened[artifact], check = session, "picture"
        if vector is None or vector.file_sha256 != bundle.manifest.files[file].sha256:
            error = _unknown_picture(session.path, vector)
            yield FileFinding(file, check, "not checked", str(error), error)
        else:
            yield FileFinding(file, check, "ok", _same_picture(session, vector))
    except NstcError as error:
        yield _failed(file, check, error)


def _agreements(bundle: Bundle, opened: Mapping[str, Session]) -> Iterator[FileFinding]:
    """Whether files that are one network give one picture."""
    pictures = CheckPictures(bundle, opened)
    for artifact in opened:
        file = artifact_file(artifact)
        try:
            if (detail := pictures.agreement(artifact)) is not None:
                yield FileFinding(file, "agreement", "ok", detail)
        except NstcError as error:
            yield _failed(file, "agreement", error)


def reason_not_to_run(bundle: Bundle, artifact: str, *, trust: bool) -> str | None:
    """Why a file of a bundle is not run here, in words; None if it can be."""
    ending = artifact.rpartition(".")[2]
    if ending not in BACKENDS:
        return f"nothing here runs .{ending} files"
    ours = is_ours(bundle.manifest.files[artifact_file(artifact)].sha256)
    if ending in PROGRAMS and not trust and not ours:
        return f"it is {PROGRAMS[ending]}, a program: give --trust if you know where it comes from"
    return BACKENDS[ending].availability()


def _kept_contract(session: Session, bundle: Bundle) -> str:
    """What a file takes and gives, in words, if that is what the manifest promises."""
    form = f"{bundle.manifest.contract.dtype} {bundle.manifest.contract.layout}"
    if isinstance(session, OnnxSession):
        bytes_promised = session.artifact.startswith("int8.")
        form = "uint8 NHWC" if bytes_promised else form
        if session.bytes_in_and_out != bytes_promised:
            raise CorruptBundleError(f"{session.path} does not take {form}, as it should.")
    size = getattr(session, "fixed_size", None)
    for height, width in (size,) if size else ((1, 1), CHECK_SIZE):
        stylised = session.run(check_picture(CHECK_SEED, height, width))
        refuse_one_colour(stylised, session.path)
        if stylised.shape != (height, width, 3):
            made = "x".join(map(str, stylised.shape[:2]))
            raise CorruptBundleError(
                f"{session.path} makes a picture of {made} of one of {height}x{width}."
            )
    sizes = f"pictures of {size[0]}x{size[1]} only" if size else "pictures of any size"
    return f"{form} in and out, {sizes}"


def _unknown_picture(path: Path, vector: CheckVector | None) -> NstcError:
    """What to do where nothing says which picture a file should give."""
    what = "its check vector is of an older file" if vector else "there is no check vector of it"
    return CorruptBundleError(
        f"{path} was not checked, {what}: if you made it or know who did, write one with  nstc "
        "verify BUNDLE --record, else copy the bundle again."
    )


def _same_picture(session: Session, vector: CheckVector) -> str:
    """How exactly a file gives the picture of its check vector, in words."""
    size = vector.height, vector.width
    if size not in (CHECK_SIZE, getattr(session, "fixed_size", None)):
        raise CorruptBundleError(
            f"the check vector of {session.path} is of a picture of {size[0]}x{size[1]}, which "
            "nstc does not write. Write it anew with  nstc verify BUNDLE --record."
        )
    stylised = session.run(vector.picture())
    if digest_of(stylised) == vector.painted_sha256:
        return "as its check vector, bit for bit"
    off = arrays.Difference.between(stylised[:: vector.stride, :: vector.stride], vector.kept)
    if off.far_share > arrays.MOST_FAR_SHARE:
        raise ExportMismatchError(
            f"{session.path} gives another picture here than where it was made: "
            f"{off.far_share:.1%} of its values are more than {arrays.NEAR_LEVELS}/255 off its "
            f"check vector, the worst by {off.worst}; at most {arrays.MOST_FAR_SHARE:.1%} may be. "
            "Do not use it on this machine."
        )
    return f"as its check vector, at most {off.worst}/255 off"


def _failed(file: str, check: Check, error: NstcError) -> FileFinding:
    return FileFinding(file, check, "failed", str(error), error)
