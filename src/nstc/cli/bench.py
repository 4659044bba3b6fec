"""nstc bench, and nstc report, which makes a page of what it wrote."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import print_result, say
from nstc.cli.signatures import Given, Placed, with_flags
from nstc.core.recipe import BenchRecipe, load_recipe


@with_flags
def bench(
    models: Annotated[
        list[str], typer.Argument(help="Bundles or zoo names to judge.", metavar="BUNDLE")
    ],
    *,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            help="Timed beside them in every round, as its float graph.",
            show_default="the teacher that their manifests name",
        ),
    ] = None,
    _size: Placed = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="N: short for --target cpu:N.", show_default="2"),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="Where; nstc targets lists them. Repeatable.", show_default="cpu:2"
        ),
    ] = None,
    open_page: Annotated[
        bool,
        typer.Option(
            "--open", help="Serve the page of --target web for a phone in this network to open."
        ),
    ] = False,
    https: Annotated[
        bool,
        typer.Option("--https", help="Serve it by a certificate of its own: threads need that."),
    ] = False,
    memory_cap: Annotated[
        int | None,
        typer.Option(
            "--memory-cap",
            help="MB of peak memory above which a row of a target that reports it fails.",
            show_default=False,
        ),
    ] = None,
    _memory: Placed = None,
    _roofline: Placed = None,
    given: Given[BenchRecipe],
    photos: options.Photos = None,
    teacher: options.Teacher = None,
    artifact: Annotated[
        list[str] | None,
        typer.Option(
            "--artifact",
            help="File to run, such as int8, repeatable. Default: all ONNX files.",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        bool, typer.Option("--quality/--no-quality", help="Whether to judge the pictures.")
    ] = True,
    recipe: options.Recipe = None,
    judged: options.JudgedFlags,
    _seed: Placed = None,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write the result to this file, after each target what there is so far; "
            "- is standard output, without the table.",
        ),
    ] = None,
    save_baseline: Annotated[
        Path | None,
        typer.Option("--save-baseline", help="Write what nstc check compares with to a new file."),
    ] = None,
) -> None:
    """Measure speed and quality beside a reference."""
    from nstc.benchmarks import baseline_file
    from nstc.benchmarks.baseline import from_result
    from nstc.benchmarks.memory_cap import refuse_over_cap, refuse_useless_cap
    from nstc.benchmarks.targets import chosen_targets, parse_target
    from nstc.benchmarks.targets.web import opened_elsewhere, refuse_baseline_of_another_device
    from nstc.cli.progress import Bar
    from nstc.compress.benchmarking import bench as run
    from nstc.core.files import refuse_unwritable_file
    from nstc.core.photos import photos_in

    settings = given.over(
        load_recipe(recipe).bench,
        targets=chosen_targets(
            opened_elsewhere(target or (), page=open_page, https=https), threads
        ),
    )
    wanted = [parse_target(name) for name in settings.targets]
    refuse_useless_cap(memory_cap, wanted, memory=settings.memory)
    file = None if json is None or str(json) == "-" else json
    if file is not None:
        refuse_unwritable_file(file)
    if save_baseline is not None:
        refuse_baseline_of_another_device(wanted)
        baseline_file.refuse_existing(save_baseline)
    with Bar() as bar:
        result = run(
            models,
            against=against,
            artifacts=artifact or (),
            photos=photos_in(photos or []),
            recipe=settings,
            teacher=teacher,
            quality=quality,
            vgg=judged.vgg,
            probe=judged.probe(),
            trust=judged.trust,
            progress=bar,
            finished=None if file is None else lambda so_far: so_far.write(file),
        )
    if save_baseline is not None:
        baseline_file.save_baseline(from_result(result, save_baseline.parent), save_baseline)
    if json is None or file is not None:
        print_result(result, costs=True)
    else:
        typer.echo(result.to_json(), nl=False)
    refuse_over_cap(result, memory_cap)


def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML page to write.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results that nstc bench --json wrote. Default: the newest of --history.",
            metavar="FILE...",
            show_default=False,
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            "--history",
            help="Folder of such results, one for each commit: their trend is drawn.",
            show_default=False,
        ),
    ] = None,
    photos: options.Photos = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Whether to stylise some photographs with the files that are still here.",
        ),
    ] = True,
    layer_times: Annotated[
        bool,
        typer.Option(
            "--layer-times/--no-layer-times",
            help="Whether to profile those files, here and now.",
        ),
    ] = True,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Make one self-contained HTML page of benchmark results."""
    from nstc.benchmarks.report.page import write_report
    from nstc.cli.progress import Bar
    from nstc.core.photos import photos_in

    with Bar() as bar:
        write_report(
            files or [],
            output,
            history=history,
            photos=photos_in(photos or []) if pictures else None,
            layers=layer_times,
            progress=bar,
        )
    say(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
