"""What may be typed for each setting of a recipe, read off its fields."""

import dataclasses
from typing import Any, get_type_hints

NUMBERS = (4, 8, 12, 192, 0.25, 1.5)


def rows_of(recipe: type) -> list[tuple[list[str], str, Any]]:
    """For each setting that has a flag: words to type, the field, and what they make of it."""
    hints, rows = get_type_hints(recipe), []
    for field in dataclasses.fields(recipe):
        setting = field.metadata["setting"]
        if not setting.help:
            continue
        flag = setting.flag or field.name.replace("_", "-")
        if hints[field.name] is bool:
            off = setting.off or f"no-{flag}"
            rows.append(([f"--{off if field.default else flag}"], field.name, not field.default))
            continue
        words = setting.allowed.expected.removeprefix("one of ").split(", ")
        words += setting.allowed.expected.split()[-1:]  # an example
        value = next(
            each
            for each in (*NUMBERS, *words)
            if isinstance(each, hints[field.name])
            and setting.allowed.holds(each)
            and each != field.default
        )
        rows.append(([f"--{flag}", str(value)], field.name, value))
    return rows
