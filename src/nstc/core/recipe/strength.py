"""How strong a style is, and what the strength changes."""

from typing import Final

from nstc.core.errors import OptionError

STRENGTH_BY: Final = ("loss", "statistics")


class StrengthOfStyle:
    """What follows from a recipe's `style_strength` and `strength_by`.

    By "loss" the strength is that of the level at which the content loss is held. By "statistics"
    it is how far the style's targets are from the photograph's own statistics (0) to the painting's
    (1), or beyond them; the level is then that of strength 1.
    """

    style_strength: float | None
    strength_by: str
    style_weight: float
    content_weight: float

    @property
    def strength_of_level(self) -> float:
        """Of the content loss; 1 without a strength."""
        own = self.style_strength
        return 1.0 if own is None or self.strength_by == "statistics" else own

    @property
    def strength_of_statistics(self) -> float | None:
        """Of the style's targets; None where they are the painting's, as at strength 1."""
        by_statistics = self.strength_by == "statistics" and self.style_strength != 1
        return self.style_strength if by_statistics else None


def refuse_strength_alone(recipe: StrengthOfStyle) -> None:
    """Raise `OptionError` for a strength without what it belongs to."""
    if recipe.style_strength is None:
        if recipe.strength_by == "statistics":
            raise OptionError(
                "strength-by statistics needs a style-strength: give one, such as 0.5, or take "
                "strength-by loss."
            )
    elif 0 in (recipe.style_weight, recipe.content_weight):
        raise OptionError("style-strength needs a style-weight and a content-weight above 0.")
