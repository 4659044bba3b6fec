"""A pack: a bundle whose int8 graph has, for several styles, the numbers that are a style's own.

Its graphs are those of its first style, so that it runs as any bundle does. `styles.json` names the
styles; a safetensors file a style has the constants that differ between them, by their names in the
graphs, or by ARTIFACT/NAME where not all graphs of the pack have the same:

    {"schema": "nstc.styles/1", "styles": [{"name": "udnie", "bundle": {...}, "style": {...},
     "files": {"int8.onnx": "SHA-256"}}, ...]}

A style's file is the graph with its constants put in. It has the hash that is written here, that of
the file in the bundle which the style came from.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, to_builtins

from nstc.core import VERSION, decoding, files
from nstc.core import bundle as bundles
from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_file
from nstc.core.decoding import DecodingError, Name, Sha256
from nstc.core.errors import CorruptBundleError, NstcError, OptionError, SchemaVersionError
from nstc.core.manifest import Origin, Style, fault_of_name, table_file
from nstc.core.tensor_files import Values, read_tensors
from nstc.core.zoo import named, zoo_name_of
from nstc.runtime.foreign.trial import remember_made
from nstc.runtime.packs.blending import Blend, OwnConstants, blended, own_constants
from nstc.runtime.packs.stored_graph import StoredGraph, read_graph

STYLES_FILE: Final = "styles.json"
SCHEMA: Final = "nstc.styles/1"
INT8: Final = "int8.onnx"
GRAPHS: Final = (INT8, TILES_ARTIFACT)  # artifacts that a pack may hold
MOST_STYLES: Final = 100
MAX_GRAPH_BYTES: Final = 8 * 2**20
_SEPARATORS: Final = frozenset("=,")  # of --blend


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedStyle:
    """A style of a pack."""

    name: Name
    bundle: Origin  # which it came from
    style: Style | None = None  # the painting, and who made it
    photograph: bool = False  # whether its result is the photograph itself, nearly
    files: Annotated[Mapping[Name, Sha256], Meta(max_length=len(GRAPHS))]  # by artifact

    def __post_init__(self) -> None:
        """Refuse names that no file or blend can have."""
        if (fault := fault_of_style(self.name)) is not None:
            raise ValueError(f"a style is called {self.name!r:.60}: {fault}")
        for sha256 in self.files.values():
            decoding.refuse_other_than_sha256(sha256)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        content: dict[str, Any] = decoding.as_readable(to_builtins(self))
        return content

    @property
    def table(self) -> str:
        """The file of its constants."""
        return table_file(self.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Styles:
    """The whole of `styles.json`."""

    schema: Literal["nstc.styles/1"]
    styles: Annotated[tuple[PackedStyle, ...], Meta(min_length=1, max_length=MOST_STYLES)]

    def __post_init__(self) -> None:
        """Refuse two styles of one name to some file systems, two photographs, other graphs."""
        if (twice := first_twice([own.name for own in self.styles])) is not None:
            raise ValueError(f"two styles are called {twice:.80}")
        if sum(own.photograph for own in self.styles) > 1:
            raise ValueError("two styles give the photograph")
        graphs = set(self.styles[0].files)
        if not {INT8} <= graphs <= set(GRAPHS) or any(graphs ^ set(s.files) for s in self.styles):
            raise ValueError("its styles have different files")


def fault_of_style(name: str) -> str | None:
    """Why a style can't have a name, in words; None if it can."""
    if _SEPARATORS & set(name):
        return "it has one of =, which a blend has between styles"
    return fault_of_name(name) or fault_of_name(table_file(name))


def first_twice(names: list[str]) -> str | None:
    """The first name that an earlier one equals, capitals aside; None if there is none."""
    folded = [name.casefold() for name in names]
    return next((name for name in names if folded.count(name.casefold()) > 1), None)


def styles_text(styles: tuple[PackedStyle, ...]) -> str:
    """What `styles.json` holds."""
    content = {"schema": SCHEMA, "styles": [own.to_dict() for own in styles]}
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def is_pack(bundle: Bundle) -> bool:
    """Whether a bundle is a pack of styles."""
    return STYLES_FILE in bundle.manifest.files


@dataclasses.dataclass(frozen=True)
class Pack:
    """An opened pack."""

    bundle: Bundle
    styles: tuple[PackedStyle, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the styles, the first of which runs unless another is chosen."""
        return tuple(own.name for own in self.styles)

    @property
    def photograph(self) -> str | None:
        """The style whose result is the photograph itself, nearly; None if there is none."""
        return next((own.name for own in self.styles if own.photograph), None)

    def in_strength(self, blend: Blend | None, strength: float) -> Blend | None:
        """A style or a mixture, mixed with the photograph by a strength.

        By default that is the first style that is not the photograph itself.

        None where the pack has no photograph, or the strength is not between 0 and 1: either end
        needs no network of its own, and beyond them there is none.
        """
        if self.photograph is None or not 0 < strength < 1:
            return None
        usual = next((own.name for own in self.styles if not own.photograph), self.photograph)
        shares = Blend.of(blend or usual).shares
        given = {style: strength * share for style, share in shares.items()}
        given[self.photograph] = given.get(self.photograph, 0.0) + 1 - strength
        return Blend(given)

    def refuse_unknown(self, blend: Blend) -> None:
        """`OptionError` for a style that the pack does not have, whatever its weight."""
        blend.refuse_unknown(self.names, named(self.bundle.path))

    @cached_property
    def graphs(self) -> Mapping[str, StoredGraph]:
        """Those of the first style, by artifact; `CorruptBundleError` if one can't be read."""
        return {name: read_graph_file(self.bundle, name) for name in self.styles[0].files}

    @cached_property
    def _own(self) -> Mapping[str, OwnConstants]:
        return {name: own_constants(graph) for name, graph in self.graphs.items()}

    @cached_property
    def _tables(self) -> dict[str, Mapping[str, Values]]:
        return {}  # those that were read, by style

    def files(self, blend: Blend) -> dict[str, bytes]:
        """The files of a style or a mixture, by artifact.

        Raises:
            OptionError: the pack has no such style.
            CorruptBundleError: it is damaged, or its tables are of another graph.
        """
        self.refuse_unknown(blend)
        chosen = [own for own in self.styles if own.name in blend.shares]
        tables = [(blend.shares[own.name], self._table(own)) for own in chosen]
        made = {}
        for artifact, graph in self.graphs.items():
            parts = [(share, _part_of(table, artifact)) for share, table in tables]
            try:
                alone = parts[0][1] if len(parts) == 1 else None
                values = blended(graph, self._own[artifact], parts) if alone is None else alone
                made[artifact] = graph.with_values(values)
            except ValueError as error:  # of tables that are whole: it is of the styles together
                raise damaged(self.bundle, STYLES_FILE, str(error)) from error
        return made

    def write_bundle(self, blend: Blend, folder: Path) -> Bundle:
        """Write a bundle that runs as a style or a mixture does; raises as `files`.

        It has neither weights nor a card. Of a mixture there are no check vectors.
        """
        mixed = [own.style for own in self.styles if own.name in blend.shares]
        alone = mixed[0] if len(mixed) == 1 else None
        return write_style(self.bundle, self.files(blend), folder, name=blend.name, style=alone)

    @contextmanager
    def as_bundle(self, blend: Blend) -> Iterator[Bundle]:
        """As `write_bundle`, in a folder that goes after the block; see `passing_style`."""
        with files.scratch_folder() as folder:
            made = self.write_bundle(blend, folder / "style")
            with passing_style(self.bundle, made, self.shown(blend)):
                yield made

    def shown(self, blend: Blend) -> str:
        """The pack and a style or a mixture of it, for messages."""
        return f"{named(self.bundle.path)} ({blend.name})"

    def _table(self, style: PackedStyle) -> Mapping[str, Values]:
        """A style's constants, which give the files that the style had."""
        if style.name not in self._tables:
            path = self.bundle.file(style.table)
            with as_damage(self.bundle, style.table):
                table = read_tensors(path)
                for name in table:
                    if not self._is_own(name):
                        raise DecodingError(f"{name!r:.60} is nothing that a style has of its own")
            for artifact, graph in self.graphs.items():
                try:
                    made = graph.with_values(_part_of(table, artifact))
                except ValueError as error:
                    raise damaged(self.bundle, style.table, str(error)) from error
                if hashlib.sha256(made).hexdigest() != style.files[artifact]:
                    what = f"it does not give the {artifact} that the style had"
                    raise damaged(self.bundle, style.table, what)
            self._tables[style.name] = table
        return self._tables[style.name]

    def _is_own(self, key: str) -> bool:
        """Whether a table may have such a constant."""
        return all(
            name is None or name in own.names
            for artifact, own in self._own.items()
            for name in [name_in(artifact, key)]
        )


def write_style(
    bundle: Bundle, made: Mapping[str, bytes], folder: Path, *, name: str, style: Style | None
) -> Bundle:
    """Write a bundle of the files that were made of another one for a style, by artifact."""
    manifest = dataclasses.replace(
        bundle.manifest,
        name=name[: decoding.MAX_TEXT],
        style=style,
        parent=bundle.origin(),
        files={},
    )
    with bundles.new_bundle(folder, manifest) as draft:
        for artifact, content in made.items():
            (draft / artifact_file(artifact)).write_bytes(content)
    return bundles.open_bundle(folder)


@contextmanager
def passing_style(bundle: Bundle, made: Bundle, shown: str) -> Iterator[None]:
    """For a block that opens what `write_style` wrote: an open session has read it.

    Files made of a bundle that came with nstc are not tried before they are opened. Errors of the
    block have `shown` in the place of the folder.
    """
    if zoo_name_of(bundle.path) is not None:
        for artifact in made.artifacts:
            remember_made(made.artifact(artifact))
    try:
        yield
    except NstcError as error:
        error.args = (str(error).replace(str(made.path), shown),)
        raise


def open_pack(model: str | Path | Bundle | Pack) -> Pack:
    """Open a pack by its path or zoo name; one that is open is given back.

    `OptionError` for another bundle; `BundleError` and its kinds if it can't be opened, or a newer
    nstc wrote it.
    """
    if isinstance(model, Pack):
        return model
    bundle = model if isinstance(model, Bundle) else bundles.open_bundle(model)
    if not is_pack(bundle):
        raise OptionError(
            f"{named(bundle.path)} is not a pack of styles: it has one style, and runs without "
            "its name. `nstc pack join` makes packs."
        )
    path = bundle.file(STYLES_FILE)
    with as_damage(bundle, STYLES_FILE):
        styles = decoding.decode(content_of_schema(path, SCHEMA), _Styles).styles
        held = {*map(artifact_file, styles[0].files), *(own.table for own in styles)}
        for name in sorted(held - bundle.manifest.files.keys()):
            raise DecodingError(f"the pack lacks {name}")
        for artifact, sha256 in styles[0].files.items():
            if bundle.manifest.files[artifact_file(artifact)].sha256 != sha256:
                raise DecodingError(
                    f"{artifact_file(artifact)} is not the file of the first style, "
                    f"{styles[0].name}"
                )
    return Pack(bundle, styles)


def content_of_schema(path: Path, known: str) -> Any:
    """Content of a JSON file, whose schema is to be `known`, such as nstc.styles/1.

    Raises:
        SchemaVersionError: it is another version of that, of a newer nstc.
        OSError, DecodingError: it can't be read.
    """
    content = decoding.parse_json(decoding.read_file(path), one_line_texts=True)
    decoding.refuse_long_texts(content)
    schema = content.get("schema") if isinstance(content, dict) else None
    later = known.rstrip("1")  # how the names of later ones begin
    if isinstance(schema, str) and schema.startswith(later) and schema != known:
        raise SchemaVersionError(
            f"{named(path)} has schema {schema[:40]}, expected {known} by this nstc {VERSION}: "
            "upgrade nstc."
        )
    return content


def read_graph_file(bundle: Bundle, artifact: str) -> StoredGraph:
    """A graph of a bundle; `CorruptBundleError` if it can't be read."""
    path = bundle.artifact(artifact)
    with as_damage(bundle, path.name):
        try:
            return read_graph(decoding.read_file(path, MAX_GRAPH_BYTES))
        except DecodingError:
            raise
        except ValueError as error:
            raise DecodingError(str(error)) from error


def name_in(artifact: str, key: str) -> str | None:
    """The constant of a graph that a key of a table stands for, None if it is another graph's."""
    for other in GRAPHS:
        if key.startswith(f"{other}/"):
            return key.removeprefix(f"{other}/") if other == artifact else None
    return key


def _part_of(table: Mapping[str, Values], artifact: str) -> dict[str, Values]:
    """A table's constants of one graph, by their names there."""
    named_there = ((name_in(artifact, key), values) for key, values in table.items())
    return {name: values for name, values in named_there if name is not None}


@contextmanager
def as_damage(bundle: Bundle, name: str) -> Iterator[None]:
    """Turn what makes a file unreadable into a `CorruptBundleError` that names it."""
    try:
        yield
    except (OSError, DecodingError) as error:
        raise damaged(bundle, name, str(error)) from error


def damaged(bundle: Bundle, name: str, reason: str) -> CorruptBundleError:
    """What to raise of a file of a pack, or of a bundle for any painting."""
    where, copied = named(bundle.path / name), "pack" if is_pack(bundle) else "bundle"
    return CorruptBundleError(f"{where} is damaged: {reason}. Copy the {copied} again.")
