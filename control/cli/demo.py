"""``farebox demo``."""

import asyncio
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from control.cli.errors import Sorry


def demo(
    is_staying: Annotated[bool, typer.Option("--stay", help="Keep serving until Ctrl-C.")] = False,
) -> None:
    """Show all of it at work, on this machine, with money that is worth nothing.

    Starts Farebox in a throw-away directory beside a real EVM, puts a small API behind it, and lets an agent
    meet the 402, pay on chain and from a prepaid balance, and read its wallet. Exits with 0 only if every
    step held.
    """
    if find_spec("eth") is None:
        raise Sorry("the demonstration needs its chain: pip install 'farebox[demo]'")
    # By name, because the chain is an extra: the other commands work without it.
    story = import_module("control.demo.story")
    try:
        is_true = asyncio.run(story.run(stay=is_staying))
    except asyncio.CancelledError:
        raise typer.Exit(143) from None
    if not is_true:
        raise typer.Exit(1)
