"""Which style of a pack runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nstc.cli.options import flag
from nstc.cli.output import tell
from nstc.core.bundle import Bundle
from nstc.core.errors import OptionError

if TYPE_CHECKING:
    from nstc.runtime.packs.any_painting import ReadPainting
    from nstc.runtime.packs.blending import Blend
    from nstc.runtime.packs.style_pack import Pack


@dataclass(frozen=True, kw_only=True)
class StyleFlags:
    """One style of a pack, or a mixture."""

    style: str | None = flag(
        None,
        "Of a pack: the style's name. In nstc stylize, of a bundle for any painting: a picture of "
        "the painting.",
        shown="the first style",
    )
    blend: str | None = flag(
        None,
        "Of a pack: a mixture of styles by their weights, such as starry-night=0.6,udnie=0.4.",
        metavar="NAME=WEIGHT,...",
    )

    @property
    def given(self) -> "Blend | None":
        """As they were typed; `OptionError` if both were, or there can be no such blend."""
        from nstc.runtime.packs.blending import Blend

        if self.style is not None and self.blend is not None:
            raise OptionError(f"style is {self.style} and blend {self.blend}: give one of the two.")
        if self.style is not None:
            return Blend.of(self.style)
        return None if self.blend is None else Blend.parsed(self.blend)

    def chosen(self, pack: "Pack") -> "Blend | None":
        """What is asked for of a pack, None if nothing is; says it if weights don't add up to 1.

        `OptionError` as `given`, or if the pack has no such style.
        """
        chosen = self.given
        if chosen is not None:
            pack.refuse_unknown(chosen)
            if chosen.warning is not None:
                tell(chosen.warning)
        return chosen

    def chosen_in_strength(self, bundle: Bundle, strength: float, *, live: bool) -> "ChosenStyle":
        """What is asked for of a bundle, mixed with a pack's photograph by the strength.

        Of a live picture, whose keys change the strength, all is left for pixels. `OptionError` as
        `chosen`, or if a style is asked for of what is no pack.
        """
        from nstc.runtime.packs.any_painting import ReadPainting, is_for_any
        from nstc.runtime.packs.style_pack import is_pack, open_pack

        if is_for_any(bundle) and self.given is not None:
            read = ReadPainting.of(self.style or self.given.shares)
            file = None if self.style is None else Path(self.style)
            return ChosenStyle(bundle, read, strength, file)
        between = 0 < strength < 1 and not live
        if self.given is None and not (between and is_pack(bundle)):
            return ChosenStyle(bundle, None, strength)
        pack = open_pack(bundle)
        chosen = self.chosen(pack)
        mixed = pack.in_strength(chosen, strength) if between else None
        if mixed is None:
            return ChosenStyle(pack, None if chosen is None else chosen.shares, strength)
        tell(f"strength {strength:g} is a blend with {pack.photograph} of the pack, not of pixels")
        return ChosenStyle(pack, mixed.shares, 1.0)


class ChosenStyle(NamedTuple):
    """What runs."""

    model: "Bundle | Pack"  # a pack where it was opened, so that nobody opens it again
    # A painting, or weights of a pack's styles; None: what runs without one.
    style: "ReadPainting | Mapping[str, float] | None"
    strength: float  # that is left for pixels
    painting: Path | None = None  # the painting's file, which no result may overwrite
