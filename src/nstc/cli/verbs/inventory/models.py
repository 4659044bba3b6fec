"""nstc models."""

from pathlib import Path

from nstc.cli import options
from nstc.cli.output import print_below, print_list, say, say_json


@options.with_flags
def models(
    sheet: Path | None = options.flag(
        None, "Photograph that all models stylise, for a picture of all side by side."
    ),
    output: Path | None = options.flag(None, "The picture that --sheet writes.", "--output", "-o"),
    json_output: options.Json = False,
) -> None:
    """List the models that are included."""
    from nstc.core.distributions import pip_line
    from nstc.core.errors import OptionError
    from nstc.core.zoo import basis, list_zoo

    if (sheet is None) != (output is None):
        raise OptionError(
            "--sheet and --output go together: give the photograph and the picture to write."
        )
    if sheet is not None and output is not None:
        from nstc.runtime.stylizer import write_zoo_sheet

        names = write_zoo_sheet(sheet, output)
        if json_output:
            say_json({"output": str(output), "models": names})
        else:
            say(f"wrote {output}: {', '.join(names)}")
        return
    entries = list_zoo()
    if json_output:
        say_json([entry.to_dict() for entry in entries])
        return
    print_list(
        ("name", "stage", "style"),
        ("KB", "times faster", "style ratio"),
        (entry.cells() for entry in entries),
        sentences=("artifacts",),
    )
    for entry in entries:
        if entry.styles:
            print_below(f"{entry.name}: a pack; --style takes {', '.join(entry.styles)}")
    for line in basis(entries):
        print_below(line)
    if away := [entry.name for entry in entries if not entry.installed]:
        print_below(f"Not installed: {', '.join(away)}. Install them with: {pip_line()}")
