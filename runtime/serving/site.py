"""Everything that the page consists of, by address, and site.json, from which it reads the rest.

A server offers it beside networks that the server runs itself; an exported folder holds it alone.
Addresses are relative: the page may lie in a folder of its host.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from nstc.core import VERSION, zoo
from nstc.core.bundle import Bundle, artifact_file, artifact_name
from nstc.core.errors import CorruptBundleError
from nstc.core.manifest import Style, fault_of_name
from nstc.core.photos import installed_samples
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.packs.blending import Blend
from nstc.runtime.packs.style_pack import Pack, PackedStyle, is_pack, open_pack
from nstc.runtime.serving.web_runtime import WebRuntime, runtime_version
from nstc.runtime.session import find_artifact
from nstc.runtime.stylizer import Stylizer

Content = bytes | Path  # of a file that is served or written, or where it is

INDEX: Final = "index.html"
SITE_FILE: Final = "site.json"
SERVICE_WORKER: Final = "service-worker.js"
SCHEMA: Final = "nstc.site/1"
PHOTO_LICENCES: Final = "LICENSES.md"  # of the photographs that nstc includes, beside them
# Of a photograph that the page takes and a server accepts.
MAX_PHOTO_BYTES: Final = 32 * 1024**2
MAX_PHOTO_PIXELS: Final = 50_000_000

_HERE: Final = Path(__file__).parent
_PAGE: Final = _HERE / "page"
# Of the page's bench mode: its own, and those of the live page that it takes.
_BENCH: Final = ("bench.css", "bench.html", "bench-job.mjs", "bench.mjs")
_BENCH_TAKES: Final = (
    *("calls.mjs", "engine-worker.mjs", "icon.svg", "pixels.mjs", "style.css", "timing.mjs"),
)
BENCH_JOB: Final = _PAGE / "bench-job.mjs"  # which runs in Node too
PAGE: Final[Mapping[str, Path]] = {
    path.name: path
    for path in sorted(_PAGE.iterdir())
    if path.is_file() and not path.name.startswith(".") and path.name not in _BENCH
}
_RUNTIME: Final = "runtime/"
_PHOTOS: Final = "photos/"
_MODELS: Final = "models/"
_RUNTIME_LICENCE: Final = "onnxruntime-web-licence.txt"
_ROLES: Final = {  # in titles
    zoo.FAST: ["fast"],
    zoo.TEACHER: ["full-size"],
    zoo.PRUNED_TEACHER: ["pruned"],
}
_COMMENTS: Final = re.compile(rb"^[ \t]*(?://.*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)\n", re.MULTILINE)
_UNFIT: Final = re.compile(r"[^a-z0-9]+")  # of names in addresses
_UNFILLED: Final = b'const SITE = { version: "", files: [] };'


@dataclass(frozen=True, kw_only=True)
class SitePhoto:
    """A photograph to try the page with."""

    name: str
    file: str  # its address


@dataclass(frozen=True, kw_only=True)
class SiteFile:
    """A graph for pictures of any size that the visitor's device runs.

    "uint8" takes and gives RGB bytes [1, height, width, 3], "float32" RGB values from 0 to 1
    [1, 3, height, width].
    """

    precision: str  # int8 or float
    file: str  # its address
    bytes: int  # its size
    input: str  # names of the graph's
    output: str
    dtype: Literal["uint8", "float32"]


@dataclass(frozen=True, kw_only=True)
class SiteModel:
    """A model of the page."""

    name: str  # of requests
    title: str  # for people
    server: tuple[str, ...]  # precisions that the server runs; none in a folder
    browser: tuple[SiteFile, ...]  # the first is the usual one
    size_multiple: int = 1  # of heights and widths; nstc's own graphs pad pictures themselves


@dataclass(frozen=True, kw_only=True)
class SiteRuntime:
    """onnxruntime-web as the page finds it."""

    folder: str
    version: str
    webgpu: bool  # whether files for WebGPU are there too


@dataclass(frozen=True, kw_only=True)
class SiteLimits:
    """Of a photograph."""

    bytes: int = MAX_PHOTO_BYTES
    pixels: int = MAX_PHOTO_PIXELS


USUAL_LIMITS: Final = SiteLimits()


@dataclass(frozen=True, kw_only=True)
class Site:
    """The content of site.json."""

    schema: str = SCHEMA
    version: str = VERSION  # of nstc
    server: bool  # whether a server runs networks beside it
    photos: tuple[SitePhoto, ...]
    models: tuple[SiteModel, ...]
    runtime: SiteRuntime | None  # None: onnxruntime-web is not installed where the server runs
    limits: SiteLimits


@dataclass(frozen=True, kw_only=True)
class OfferedModel:
    """A model that visitors of a page can choose: a bundle, or a style of a pack."""

    name: str  # starry-night, starry-night/teacher, or the bundle's own; no other has it
    title: str  # for people
    bundle: Bundle
    precisions: tuple[str, ...]  # int8, float: those of which there is a file, the usual one first
    pack: Pack | None = None  # which the bundle is
    packed: PackedStyle | None = None  # which of its styles

    @property
    def style(self) -> Style | None:
        """The painting, and who made it."""
        return self.bundle.manifest.style if self.packed is None else self.packed.style

    @contextmanager
    def as_bundle(self) -> Iterator[Bundle]:
        """The bundle of its files, in a folder that goes after the block if it is of a pack."""
        if self.pack is None or self.packed is None:
            yield self.bundle
            return
        with self.pack.as_bundle(Blend.of(self.packed.name)) as made:
            yield made

    def stylizer(self, precision: str, threads: int | None) -> Stylizer:
        """Its network, opened; raises as `Stylizer`."""
        style = None if self.packed is None else self.packed.name
        return Stylizer(self.pack or self.bundle, style=style, precision=precision, threads=threads)


def offered_models(
    bundles: Iterable[tuple[Bundle, tuple[str, ...]]],
) -> tuple[OfferedModel, ...]:
    """Bundles and the precisions that they have a file of, each with a name of its own.

    A pack is a model for each of its styles, PACK/STYLE. Raises as `open_pack`.
    """
    offered: dict[str, OfferedModel] = {}

    def offer(name: str, title: str, **given: Any) -> None:
        number, free = 1, name
        while free in offered:
            number += 1
            free = f"{name}-{number}"
        offered[free] = OfferedModel(name=free, title=title, **given)

    for bundle, precisions in bundles:
        included = zoo.zoo_name_of(bundle.path)
        name = bundle.name if included is None else included.removeprefix(zoo.PREFIX)
        given = {"bundle": bundle, "precisions": precisions}
        if is_pack(bundle):
            pack = open_pack(bundle)
            for own in pack.styles:
                title = f"{_in_words(own.name)}, {name}"
                offer(f"{name}/{own.name}", title, **given, pack=pack, packed=own)
            continue
        style, _, role = name.partition("/")
        offer(name, ", ".join([_in_words(style), *_ROLES.get(role, [])]), **given)
    return tuple(offered.values())


def _in_words(name: str) -> str:
    return name.replace("-", " ").title()


def site_content(
    models: Sequence[OfferedModel],
    *,
    server: bool,
    runtime: WebRuntime | None,
    photos: Mapping[str, Content] | None = None,
    limits: SiteLimits = USUAL_LIMITS,
) -> Mapping[str, Content]:
    """Every file of the page by its address, such as index.html and models/udnie/model.int8.onnx.

    Args:
        models: What visitors can choose from; the first is shown.
        server: Whether a server runs the models too. What it offers costs a visitor nothing unless
            it is used, so that the page gets every precision and WebGPU. A folder (False) holds
            each model's usual file alone, and the service worker.
        runtime: A complete installation of onnxruntime-web; None if there is none.
        photos: Photographs to try, by file name; None for all that nstc includes. LICENSES.md is
            offered beside them, but is none.
        limits: Of a photograph that a visitor gives.

    Raises:
        ArtifactError, UnsafeFileError, GraphLimitError: a file is missing or may not be opened.
        CorruptBundleError: a file was changed, or is not a graph that nstc writes.
    """
    page = PAGE if server else {name: _without_comments(path) for name, path in PAGE.items()}
    content: dict[str, Content] = {**page, "LICENSE.txt": _own_licence()}
    pictures = included_photos() if photos is None else photos
    content |= {_PHOTOS + name: own for name, own in pictures.items()}
    shown = [_shown(model, content, server=server) for model in models]
    if runtime is not None:
        installed = (*runtime.page_files, *(runtime.webgpu_files if server else ()))
        content |= {_RUNTIME + path.name: path for path in installed}
        content[_RUNTIME + "LICENSE.txt"] = _HERE / _RUNTIME_LICENCE
    site = Site(
        server=server,
        photos=tuple(
            SitePhoto(name=Path(name).stem, file=_PHOTOS + name)
            for name in pictures
            if name != PHOTO_LICENCES
        ),
        models=tuple(shown),
        runtime=None
        if runtime is None
        else SiteRuntime(folder=_RUNTIME, version=runtime_version(), webgpu=server),
        limits=limits,
    )
    content["LICENSES.md"] = _licences(models, content).encode()
    content[SITE_FILE] = msgspec.json.format(msgspec.json.encode(site))
    worker = content.pop(SERVICE_WORKER)
    if not server:  # which is there itself, and changes with every start
        content[SERVICE_WORKER] = _filled(bytes_of(worker), content)
    return content


def bench_content(runtime: WebRuntime) -> Mapping[str, Content]:
    """Every file of the page's bench mode by its address, but for those of a run itself."""
    content: dict[str, Content] = {name: _PAGE / name for name in (*_BENCH, *_BENCH_TAKES)}
    content[INDEX] = content.pop("bench.html")
    return content | {_RUNTIME + path.name: path for path in runtime.page_files}


def included_photos(names: Sequence[str] | None = None) -> Mapping[str, Content]:
    """Photographs that nstc includes, all or those of some names, and the record of licences."""
    paths = [own for own in installed_samples() if names is None or own.stem in names]
    return {path.name: path for path in (*paths, paths[0].with_name(PHOTO_LICENCES))}


def bytes_of(content: Content) -> bytes:
    """A file's bytes, read if they are not here yet."""
    return content if isinstance(content, bytes) else content.read_bytes()


def plain_name(text: str, kind: str) -> str:
    """A part of an address for any text: a-z, 0-9 and hyphens; what is no name gets the kind's."""
    plain = _UNFIT.sub("-", text.lower()).strip("-")[:60]
    if not plain or fault_of_name(plain) is not None:  # nothing is left, or Windows has it
        plain = f"{kind}-{plain}".rstrip("-")
    return plain


def _without_comments(path: Path) -> Content:
    """A script or style sheet without the comments that fill lines, a sixth of what visitors load.

    A template string must have no line that begins as a comment does.
    """
    if path.suffix not in {".css", ".js", ".mjs"}:
        return path
    return _COMMENTS.sub(b"", path.read_bytes())


def _folder_of(name: str, taken: Mapping[str, Content]) -> str:
    """A folder of its own for a model, whose name may be any text."""
    plain = plain_name(name, "model")
    number, folder = 1, f"{_MODELS}{plain}/"
    while any(address.startswith(folder) for address in taken):
        number += 1
        folder = f"{_MODELS}{plain}-{number}/"
    return folder


def _shown(model: OfferedModel, content: dict[str, Content], *, server: bool) -> SiteModel:
    """A model of the page, whose graphs are put into the content."""
    folder = _folder_of(model.name, content)
    files = []
    with model.as_bundle() as bundle:
        for precision in model.precisions if server else model.precisions[:1]:
            path = find_artifact(bundle, precision)
            address = folder + artifact_file(artifact_name(precision))
            content[address] = path if model.pack is None else path.read_bytes()
            files.append(_described(path, precision, address))
    precisions = model.precisions if server else ()
    return SiteModel(name=model.name, title=model.title, server=precisions, browser=tuple(files))


def _described(path: Path, precision: str, address: str) -> SiteFile:
    """What a page has to know of a graph; opened here, so that no visitor gets a damaged one."""
    session = OnnxSession(path, artifact_name(precision), 1)
    if session.fixed_size is not None or session.takes_statistics:
        raise CorruptBundleError(
            f"{path} is not for pictures of any size, as {path.name} has to be. Make it again."
        )
    return SiteFile(
        precision=precision,
        file=address,
        bytes=path.stat().st_size,
        input=session.input_name,
        output=session.output_name,
        dtype="uint8" if session.bytes_in_and_out else "float32",
    )


def _filled(worker: bytes, content: Mapping[str, Content]) -> bytes:
    """The service worker for these files: it differs wherever one of them does."""
    digest = hashlib.sha256(worker)
    for name, own in sorted(content.items()):
        digest.update(f"{name} {hashlib.sha256(bytes_of(own)).hexdigest()}\n".encode())
    site = {"version": digest.hexdigest()[:16], "files": sorted(content)}
    return worker.replace(_UNFILLED, b"const SITE = " + msgspec.json.encode(site) + b";")


def _own_licence() -> bytes:
    """The text of nstc's, as every installation has it."""
    text = metadata.distribution("nstc").read_text("licenses/LICENSE")
    return (text or "https://www.apache.org/licenses/LICENSE-2.0\n").encode()


def _licences(models: Sequence[OfferedModel], content: Mapping[str, Content]) -> str:
    """A table of what comes from where, in Markdown."""
    rows = [("the page", f"nstc {VERSION}", "Apache-2.0, see LICENSE.txt")]
    for model in models:
        style, included = model.style, zoo.zoo_name_of(model.bundle.path)
        source = f"included in nstc as {included}" if included else "made with nstc"
        credit = f"; style: {style.credit}" if style is not None and style.credit else ""
        licence = "Apache-2.0, see LICENSE.txt" if included else "its maker's"
        rows.append((f"the model {model.name}", source + credit, licence))
    of_photos = _PHOTOS + PHOTO_LICENCES
    if of_photos in content:
        rows.append((_PHOTOS, "included in nstc", f"see {of_photos}"))
    elif any(name.startswith(_PHOTOS) for name in content):
        rows.append((_PHOTOS, "whoever made this page", "its makers'"))
    if (of_runtime := f"{_RUNTIME}LICENSE.txt") in content:
        source = f"onnxruntime-web {runtime_version()}, Microsoft"
        rows.append((_RUNTIME, source, f"MIT, see {of_runtime}"))
    table = [("what", "source", "licence"), ("---",) * 3, *rows]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table]
    return "\n".join(("# Licences", "", *lines, ""))
