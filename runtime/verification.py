"""Whether a bundle is what its manifest says, and still gives the pictures it gave when made."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from nstc.core import bundle as bundles
from nstc.core import unusable_models, zoo
from nstc.core.bundle import MANIFEST_FILE, WEIGHTS_FILE, Bundle, artifact_file
from nstc.core.distributions import MODELS
from nstc.core.errors import (
    CorruptBundleError,
    ExportMismatchError,
    MissingExtraError,
    NstcError,
    OptionError,
    UnusableModelError,
)
from nstc.core.files import scratch_folder
from nstc.core.model_names import local_path, shown_name
from nstc.core.portable_names import takes_bytes
from nstc.runtime import arrays
from nstc.runtime.agreement import CheckPictures
from nstc.runtime.arrays import CHECK_SEED, CHECK_SIZE, check_picture, refuse_one_colour
from nstc.runtime.check_vectors import (
    CHECKS_FILE,
    CheckVector,
    digest_of,
    read_check_vectors,
    write_check_vectors,
)
from nstc.runtime.coreml import coreml_size, kept_coreml_contract
from nstc.runtime.findings import Check, FileFinding, Verification, failed
from nstc.runtime.foreign.trial import PROGRAMS, is_ours
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.packs.any_painting import (
    PREDICTOR_FILE,
    is_for_any,
    open_for_any,
    painting_of,
)
from nstc.runtime.packs.blending import Blend
from nstc.runtime.packs.style_pack import STYLES_FILE, is_pack, open_pack
from nstc.runtime.session import BACKENDS, Session, open_session, refuse_unsafe

_PAINTING: Final = (96, 128)  # height and width of what a style is predicted of


def verify(model: str | Path, *, trust: bool = False) -> Verification:
    """Check every file of a bundle; what is wrong is reported, not raised.

    Every file is held to the manifest's hash; each that runs to the contract, to its check vector,
    without which nothing says which picture is right, and to the other files of the bundle. `trust`
    lets programs of others run.

    Raises:
        BundleError: there is no bundle of that name.
        SchemaVersionError: a newer nstc wrote it.
        MissingExtraError: it comes with nstc-models, which is not installed.
    """
    try:
        manifest = bundles.read_manifest(model)
    except CorruptBundleError as error:
        return Verification(shown_name(model), None, (failed(MANIFEST_FILE, "content", error),))
    bundle = Bundle(local_path(model), manifest)
    bundle.refuse_absent()
    sound = "the seal is whole, the schema is known"
    findings = [FileFinding(MANIFEST_FILE, "content", "ok", sound), *_contents(bundle)]
    whole = {found.file for found in findings if found.state == "ok"}
    vectors: Mapping[str, CheckVector] = {}
    try:
        vectors = read_check_vectors(bundle) if CHECKS_FILE in whole else {}
    except CorruptBundleError as error:
        findings.append(failed(CHECKS_FILE, "content", error))
    if is_pack(bundle):
        findings += _styles(bundle, vectors)
    else:
        kept = [artifact for artifact in bundle.artifacts if artifact_file(artifact) in whole]
        findings += _of_artifacts(bundle, kept, vectors, trust=trust)
        if is_for_any(bundle):
            findings.append(_predicted(bundle))
    identity = bundle.identity if {WEIGHTS_FILE, STYLES_FILE} & manifest.files.keys() else None
    return Verification(shown_name(model), identity, tuple(findings))


def _of_artifacts(
    bundle: Bundle,
    artifacts: Iterable[str],
    vectors: Mapping[str, CheckVector],
    *,
    trust: bool,
) -> Iterator[FileFinding]:
    """What is found by running files."""
    opened: dict[str, Session] = {}
    for artifact in artifacts:
        yield from _runs(bundle, artifact, vectors.get(artifact), opened, trust=trust)
    yield from _agreements(bundle, opened)


def _predicted(bundle: Bundle) -> FileFinding:
    """Whether what is predicted of a painting can be put into the graphs, and paints."""
    try:
        painting = painting_of(check_picture(CHECK_SEED, *_PAINTING))
        with open_for_any(bundle).as_bundle(painting, "check", anew=True) as made:
            session = open_session(made)
            refuse_one_colour(session.run(check_picture(CHECK_SEED, *CHECK_SIZE)), session.path)
    except NstcError as error:
        return failed(PREDICTOR_FILE, "picture", error)
    return FileFinding(PREDICTOR_FILE, "picture", "ok", "it predicts a style that paints")


def _styles(bundle: Bundle, vectors: Mapping[str, CheckVector]) -> Iterator[FileFinding]:
    """What is found of each style of a pack: as of a bundle, after its files are made."""
    try:
        pack = open_pack(bundle)
    except NstcError as error:
        yield failed(STYLES_FILE, "content", error)
        return
    with scratch_folder() as folder:
        for position, style in enumerate(pack.styles):
            try:
                made = pack.write_bundle(Blend.of(style.name), folder / str(position))
            except NstcError as error:
                yield failed(style.table, "content", error)
                continue
            known = {name: vectors.get(f"{style.name}/{name}") for name in made.artifacts}
            own = {name: vector for name, vector in known.items() if vector is not None}
            for name in sorted(known.keys() - own.keys()):
                lacking = CorruptBundleError(
                    f"{bundle.path} has no check vector of {style.name}/{name}: copy the pack "
                    "again, or join it again."
                )
                yield failed(f"{style.name}: {artifact_file(name)}", "picture", lacking)
            for found in _of_artifacts(made, sorted(own), own, trust=False):
                shown = pack.shown(Blend.of(style.name))
                file = f"{style.name}: {found.file}"
                yield replace(found.renamed(str(made.path), shown), file=file)


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
        if is_pack(bundle):
            raise OptionError(
                f"{bundle.path} is a pack, whose check vectors are written when it is joined: join "
                "it again, or verify it without --record."
            )
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
    if WEIGHTS_FILE not in bundle.manifest.files and not is_pack(bundle):
        error = CorruptBundleError(f"{bundle.path} names no {WEIGHTS_FILE}: it is incomplete.")
        yield failed(WEIGHTS_FILE, "content", error)
    for name, entry in sorted(bundle.manifest.files.items()):
        if name in bundle.absent:
            yield FileFinding(name, "content", "not checked", f"it comes with {MODELS}")
            continue
        try:
            path = bundle.file(name)
            if name.endswith(".safetensors"):
                unusable_models.refuse_unusable_file(path, statistics=name == bundles.STYLE_FILE)
        except (CorruptBundleError, UnusableModelError) as error:
            yield failed(name, "content", error)
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
    size = coreml_size(artifact)
    if size is not None:
        yield _coreml_contract(bundle, file, size)
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
        yield failed(file, check, error)


def _coreml_contract(bundle: Bundle, file: str, size: tuple[int, int]) -> FileFinding:
    """What a Core ML package says of itself, which can be read where nothing runs it."""
    try:
        detail = kept_coreml_contract(bundle.path / file, size, bundle.identity)
    except MissingExtraError as error:
        return FileFinding(file, "contract", "not checked", str(error))
    except NstcError as error:
        return failed(file, "contract", error)
    return FileFinding(file, "contract", "ok", detail)


def _agreements(bundle: Bundle, opened: Mapping[str, Session]) -> Iterator[FileFinding]:
    """Whether files that are one network give one picture."""
    pictures = CheckPictures(bundle, opened)
    for artifact in opened:
        file = artifact_file(artifact)
        try:
            if (detail := pictures.agreement(artifact)) is not None:
                yield FileFinding(file, "agreement", "ok", detail)
        except NstcError as error:
            yield failed(file, "agreement", error)


def reason_not_to_run(bundle: Bundle, artifact: str, *, trust: bool) -> str | None:
    """Why a file of a bundle is not run here, in words; None if it can be."""
    if coreml_size(artifact) is not None:
        return "only Apple's systems run Core ML"
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
        bytes_promised = takes_bytes(session.artifact)
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
