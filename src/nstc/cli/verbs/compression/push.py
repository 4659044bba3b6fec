"""nstc push."""

from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import print_list, say, say_json, tell

_DRY_RUN = (
    "Verify, and list what would be sent, but not what would be removed: no hub is asked, unless "
    "BUNDLE is an hf: name."
)


@options.with_flags
def push(
    model: Annotated[str, typer.Argument(help="Bundle, zoo or hf: name.", metavar="BUNDLE")],
    target: Annotated[
        str, typer.Argument(help="Where to: hf:OWNER/NAME.", metavar="hf:OWNER/NAME")
    ],
    *,
    private: bool = options.flag(False, "Make the repository one that others can't see."),
    revision: str | None = options.flag(
        None, "Branch to send it to, which is made where there is none.", shown="main"
    ),
    message: str | None = options.flag(None, "Message of the commit.", "--message", shown=False),
    license: str | None = options.flag(
        None,
        "Licence for the card, such as mit. Default: apache-2.0 for zoo models, else the card's.",
        shown=False,
    ),
    trust: options.TrustBundled = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    dry_run: bool = options.flag(False, _DRY_RUN),
    json_output: options.Json = False,
) -> None:
    """Send a bundle to a model hub such as Hugging Face.

    Only a bundle that nstc verify passes is sent: the files that its manifest names, and its card
    with a head that the hub reads. The same commit removes files of an earlier push that
    the bundle no longer has. Log in with hf auth login, or set HF_TOKEN.
    """
    pushed = nstc.push(
        model,
        target,
        private=private,
        revision=revision,
        message=message,
        license=license,
        trust=trust,
        dry_run=dry_run,
    )
    if pushed.license is None:
        tell("the card names no licence: give --license, so that others know what they may do.")
    if json_output:
        say_json(pushed.to_dict())
        return
    if dry_run:
        rows = [(name, f"{size / 1000:.1f}") for name, size in pushed.sizes.items()]
        print_list(("file",), ("KB",), rows)
    total = f"{len(pushed.sizes)} files, {sum(pushed.sizes.values()) / 1e6:.1f} MB"
    if pushed.url is None:
        say(f"would send {total} to {pushed.name}")
        return
    say(f"sent {total}: {pushed.url}")
    if pushed.removed:
        say(f"removed {', '.join(pushed.removed)}: of an earlier push, and not in this bundle")
    say(f"its name is {pushed.pinned}")
