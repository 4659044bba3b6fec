"""Which style of a pack runs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nstc.cli.options import flag
from nstc.cli.output import tell
from nstc.core.bundle import Bundle
from nstc.core.errors import OptionError

if TYPE_CHECKING:
    from nstc.runtime.packs.blending import Blend


@dataclass(frozen=True, kw_only=True)
class StyleFlags:
    """One style of a pack, or a mixture."""

    style: str | None = flag(None, "Of a pack: the style's name.", shown="the first style")
    blend: str | None = flag(
        None,
        "Of a pack: a mixture of styles by their weights, such as starry-night=0.6,udnie=0.4.",
        metavar="NAME=WEIGHT,...",
    )

    def chosen(self, bundle: Bundle) -> "Blend | None":
        """What is asked for of a pack, None if nothing is; says it if weights don't add up to 1.

        `OptionError` if both are given, the blend can't be, or the bundle has no such style or is
        no pack.
        """
        from nstc.runtime.packs.blending import Blend
        from nstc.runtime.packs.style_pack import open_pack

        if self.style is not None and self.blend is not None:
            raise OptionError(f"style is {self.style} and blend {self.blend}: give one of the two.")
        if self.style is not None:
            chosen = Blend.of(self.style)
        elif self.blend is not None:
            chosen = Blend.parsed(self.blend)
        else:
            return None
        open_pack(bundle).refuse_unknown(chosen)
        if chosen.warning is not None:
            tell(chosen.warning)
        return chosen

    def chosen_in_strength(
        self, bundle: Bundle, strength: float, *, live: bool
    ) -> "tuple[Blend | None, float]":
        """As `chosen`, mixed with a pack's photograph, and the strength that is left for pixels.

        Of a live picture, whose keys change the strength, all is left.
        """
        from nstc.runtime.packs.style_pack import is_pack, open_pack

        chosen = self.chosen(bundle)
        between = 0 < strength < 1 and not live
        pack = open_pack(bundle) if between and is_pack(bundle) else None
        mixed = None if pack is None else pack.in_strength(chosen, strength)
        if pack is None or mixed is None:
            return chosen, strength
        tell(f"strength {strength:g} is a blend with {pack.photograph} of the pack, not of pixels")
        return mixed, 1.0
