"""The commands ``rs-embed weights``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rs_embed.cli import console
from rs_embed.cli.words import ModelArg

weights_app = typer.Typer(
    help="Published weights: where they are, fetching them, checking them.", no_args_is_help=True
)


@weights_app.command("list")
def weights_list() -> None:
    """List the weights of every model: size, pins, licence, and whether they are here.

    For example: `rs-embed weights list`
    """
    from rs_embed.cli.pages import WEIGHTS_HEAD, weights_rows

    console.table(WEIGHTS_HEAD, weights_rows())


@weights_app.command("fetch")
def weights_fetch(
    model: ModelArg,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask over 2 GB.")] = False,
) -> None:
    """Download the weights of a model into the hub's cache and check them.

    For example: `rs-embed weights fetch prithvi_eo_v2_s2_6b:tiny_tl`
    """
    from rs_embed.cli.work import fetch_weights

    console.say(fetch_weights(model, yes))


@weights_app.command("verify")
def weights_verify(
    model: ModelArg,
    file: Annotated[
        Path | None, typer.Option(help="A local file instead of the one in the cache.")
    ] = None,
) -> None:
    """Check weights that are here: size, SHA-256, and that every key fits the model.

    For example: `rs-embed weights verify galileo:nano`
    """
    from rs_embed.cli.work import verify_weights

    for line in verify_weights(model, file):
        console.say(line)
