"""Bundles that share their integer weights, joined in a pack."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from nstc.core import bundle as bundles
from nstc.core import zoo
from nstc.core.bundle import Bundle, artifact_file
from nstc.core.errors import OptionError
from nstc.core.files import write_text
from nstc.core.manifest import Step
from nstc.core.model_names import is_name
from nstc.core.tensor_files import Values, tensor_bytes
from nstc.runtime.check_vectors import CHECKS_FILE, CheckVector, check_vector, checks_text
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.packs.blending import own_constants
from nstc.runtime.packs.stored_graph import StoredGraph
from nstc.runtime.packs.style_pack import (
    GRAPHS,
    INT8,
    MOST_STYLES,
    STYLES_FILE,
    Pack,
    PackedStyle,
    fault_of_style,
    first_twice,
    is_pack,
    open_pack,
    read_graph_file,
    styles_text,
)
from nstc.runtime.session import refuse_unsafe

_SHOWN: Final = 3  # layers that differ

Member = tuple[str | None, str | Path | Bundle]  # a style's name and its bundle, path or zoo name


def join_styles(members: Sequence[Member], output: Path, *, name: str | None = None) -> Pack:
    """Join bundles in a pack, whose first style is that of the first of them.

    A style is called as its bundle is, where it gets no name. The files of a pack's styles are
    those of the bundles, byte for byte. The files for tiles are joined where all bundles have them.

    Args:
        members: Two or more. Their int8 files must be equal but for the numbers that a style may
            have of its own, `nstc.runtime.packs.blending.OwnConstants`.
        output: The pack to write, a folder.
        name: Of the pack; by default that of the folder.

    Raises:
        OptionError: a style's name is impossible, or two are called alike; bundles are of different
            shapes, their weights differ, or one is a pack.
        ArtifactError: a bundle is not quantized.
        BundleError: and its kinds, if a bundle can't be opened or is damaged.
        UnusableModelError: a style gives one colour for any picture.
        OutputError: the output can't be written.
    """
    opened = [_opened(model) for _, model in members]
    names = [given or own.name for (given, _), own in zip(members, opened, strict=True)]
    _refuse_names(names, opened)
    _refuse_unjoinable(opened)
    _refuse_output(output, opened)
    first = opened[0]
    for other in opened[1:]:
        _refuse_other_shape(first, other)
    held = [name for name in GRAPHS if name == INT8 or all(name in own.artifacts for own in opened)]
    own_by_graph = {
        artifact: _own_values(opened, [read_graph_file(own, artifact) for own in opened])
        for artifact in held
    }
    tables = [
        _table({artifact: own[position] for artifact, own in own_by_graph.items()})
        for position in range(len(opened))
    ]
    styles, vectors = _run_members(names, opened, held)
    quantized = [step for step in first.manifest.history if step.verb == "quantize"]
    manifest = replace(
        first.manifest,
        name=name or output.name,
        style=None,
        parent=None,
        teacher=None,
        history=(*quantized[-1:], Step(verb="pack", recipe={"styles": names})),
        measurements=(),
        files={},
    )
    with bundles.new_bundle(output, manifest) as draft:
        for artifact in held:
            source = first.artifact(artifact)
            (draft / source.name).write_bytes(source.read_bytes())
        for packed, table in zip(styles, tables, strict=True):
            (draft / packed.table).write_bytes(tensor_bytes(table))
        write_text(draft / STYLES_FILE, styles_text(styles))
        write_text(draft / CHECKS_FILE, checks_text(vectors))
    return open_pack(output)


def _run_members(
    names: Sequence[str], opened: Sequence[Bundle], held: Sequence[str]
) -> tuple[tuple[PackedStyle, ...], dict[str, CheckVector]]:
    """The record of each style, and the check vectors of its files, by STYLE/ARTIFACT."""
    styles, vectors = [], {}
    for style, own in zip(names, opened, strict=True):
        for artifact in held:
            refuse_unsafe(own, artifact, trust=False)
            session = OnnxSession(own.artifact(artifact), artifact)
            vectors[f"{style}/{artifact}"] = check_vector(session)
        hashes = {name: own.manifest.files[artifact_file(name)].sha256 for name in held}
        styles.append(
            PackedStyle(
                name=style,
                bundle=own.origin(),
                style=own.manifest.style,
                photograph=own.manifest.gives_photograph,
                files=hashes,
            )
        )
    return tuple(styles), vectors


def members_of(texts: Sequence[str]) -> list[tuple[str | None, Bundle]]:
    """Bundles as they are typed: BUNDLE, or NAME=BUNDLE; raises as `open_bundle`."""
    members: list[tuple[str | None, Bundle]] = []
    for text in texts:
        name, equals, model = text.partition("=")
        # a path may have one too, and the hash of an address has
        is_named = bool(equals) and not is_name(text) and not bundles.is_bundle(text)
        members.append((name if is_named else None, _opened(model if is_named else text)))
    return members


def _opened(model: str | Path | Bundle) -> Bundle:
    return model if isinstance(model, Bundle) else bundles.open_bundle(model)


def _refuse_output(output: Path, opened: Sequence[Bundle]) -> None:
    bundles.refuse_unwritable_bundle(output)
    if any(own.path.resolve() == output.resolve() for own in opened):
        raise OptionError(
            f"{output} is one of the bundles that are joined: write the pack to another folder."
        )


def _refuse_names(names: Sequence[str], opened: Sequence[Bundle]) -> None:
    if not 2 <= len(names) <= MOST_STYLES:
        raise OptionError(
            f"{len(names)} given: a pack is of 2 to {MOST_STYLES} bundles, one for each style."
        )
    for name, own in zip(names, opened, strict=True):
        if (fault := fault_of_style(name)) is not None:
            raise OptionError(
                f"a style can't be called {name!r:.60}: {fault}. Give the bundle as NAME="
                f"{zoo.named(own.path)}, with another name."
            )
    if (twice := first_twice(list(names))) is not None:
        paths = [
            zoo.named(own.path)
            for name, own in zip(names, opened, strict=True)
            if name.casefold() == twice.casefold()
        ]
        raise OptionError(
            f"two styles are called {twice}, of {paths[0]} and {paths[1]}: give one of them as "
            f"NAME={paths[1]}, with another name."
        )


def _refuse_unjoinable(opened: Sequence[Bundle]) -> None:
    for own in opened:
        if is_pack(own):
            raise OptionError(
                f"{zoo.named(own.path)} is a pack, and only its first style would be joined: give "
                "the bundle of each style."
            )
    if len(photographs := [own for own in opened if own.manifest.gives_photograph]) > 1:
        first, second = (zoo.named(own.path) for own in photographs[:2])
        raise OptionError(f"{first} and {second} both give the photograph: join one of them.")


def _refuse_other_shape(first: Bundle, other: Bundle) -> None:
    one, two = first.manifest, other.manifest
    if (one.architecture, one.contract) != (two.architecture, two.contract):
        raise OptionError(
            f"{zoo.named(first.path)} and {zoo.named(other.path)} are of different shapes: a pack "
            "is of students of one shape that were trained with one trunk."
        )


def _own_values(opened: Sequence[Bundle], graphs: Sequence[StoredGraph]) -> list[dict[str, Values]]:
    """Those constants of each graph in which some differ, of one artifact of all bundles."""
    first = graphs[0]
    may_differ = own_constants(first).names
    differing: dict[str, None] = {}
    for bundle, graph in zip(opened, graphs, strict=True):
        found = _differing(first, graph)
        own = {name: graph.constants[name].values for name in found or ()}
        known = {name: values for name, values in own.items() if values is not None}
        if found is None or len(known) < len(own) or not _gives(first, known, graph):
            raise OptionError(
                f"{zoo.named(opened[0].path)} and {zoo.named(bundle.path)} have graphs that differ "
                "in more than their numbers: quantize both with this nstc, in the same way."
            )
        if shared := [name for name in found if name not in may_differ]:
            layers = ", ".join(name.removesuffix("_quantized") for name in shared[:_SHOWN])
            more = f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
            raise OptionError(
                f"{zoo.named(opened[0].path)} and {zoo.named(bundle.path)} can't share a pack: the "
                f"integers of {layers}{more} differ. A pack is of students that were trained with "
                "one trunk, so that only scales and shifts of channels differ."
            )
        differing |= dict.fromkeys(found)
    return [
        {name: values for name in differing if (values := graph.value(name)) is not None}
        for graph in graphs
    ]


def _table(by_graph: Mapping[str, Mapping[str, Values]]) -> dict[str, Values]:
    """What a style's file holds: once what all graphs have under one name."""
    table = {}
    for artifact, own in by_graph.items():
        for name, values in own.items():
            alike = all(_equal(other.get(name), values) for other in by_graph.values())
            table[name if alike else f"{artifact}/{name}"] = values
    return table


def _gives(first: StoredGraph, values: dict[str, Values], other: StoredGraph) -> bool:
    """Whether a graph is another one, byte for byte, once it has that one's constants."""
    try:
        return first.with_values(values) == other.content
    except ValueError:  # of another shape
        return False


def _differing(first: StoredGraph, other: StoredGraph) -> list[str] | None:
    """The constants in which graphs differ; None if they don't have the same ones."""
    if [*first.constants] != [*other.constants]:
        return None
    pairs = zip(first.constants.items(), other.constants.values(), strict=True)
    return [name for (name, one), two in pairs if not _equal(one.values, two.values)]


def _equal(one: Values | None, two: Values | None) -> bool:
    """To the bit; what tables don't hold is left to the comparison of whole files."""
    if one is None or two is None:
        return one is two
    same_kind = (one.dtype, one.shape) == (two.dtype, two.shape)
    return same_kind and one.tobytes() == two.tobytes()
