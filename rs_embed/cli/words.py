"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def model_names(incomplete: str) -> list[str]:
    """Ids that continue what was typed; after a colon, that model's variants."""
    from rs_embed.embedders.catalog import MODEL_SPECS

    typed = incomplete.lower()
    names = [
        name
        for spec in MODEL_SPECS.values()
        for name in ([f"{spec.id}:{v.name}" for v in spec.variants] if ":" in typed else [spec.id])
    ]
    return [name for name in names if name.startswith(typed)]


ModelArg = Annotated[
    str,
    typer.Argument(
        help="A model id, alias, or id:variant.", metavar="MODEL", autocompletion=model_names
    ),
]
ModelOpt = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="A model id, alias, or id:variant.", autocompletion=model_names
    ),
]
ModalityOpt = Annotated[
    str | None, typer.Option(help="What the model is given; `rs-embed info MODEL` lists them.")
]
BandsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--bands",
        metavar="WANTED=HAVE",
        help="Stand-in for a band, as B8A=B8; repeatable. Or names of unnamed bands, as B4,B3,B2.",
    ),
]
UnitsOpt = Annotated[
    str | None, typer.Option(help="Units of the values, such as reflectance_x10000.")
]
CrsOpt = Annotated[str | None, typer.Option(help="CRS of a raster without one; or override=CRS.")]
TimeOpt = Annotated[
    Literal["each", "composite"],
    typer.Option(
        help="each: one embedding a date of the raster; composite: their median.",
    ),
]
StartOpt = Annotated[str | None, typer.Option(help="First date, YYYY-MM-DD.")]
EndOpt = Annotated[str | None, typer.Option(help="The date after the last, YYYY-MM-DD.")]
PrepOpt = Annotated[
    Literal["native", "resize"],
    typer.Option(
        help="native: windows at the model's own pixel size; resize: one window.",
    ),
]
OverlapOpt = Annotated[int, typer.Option(help="0, or k for windows at 1/k of their stride.")]
OptionOpt = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of the model; repeatable."),
]
