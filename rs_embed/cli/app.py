"""The commands of ``rs-embed``; each is a few lines over a public function."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rs_embed.cli import console
from rs_embed.core.errors import RsEmbedError

app = typer.Typer(
    name="rs-embed",
    help="Embeddings of remote-sensing foundation models for any place, any time and any raster.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(
    help="Published weights: where they are, fetching them, checking them.", no_args_is_help=True
)
app.add_typer(weights_app, name="weights")

ModelArg = Annotated[str, typer.Argument(help="A model id, alias, or id:variant.", metavar="MODEL")]
ModelOpt = Annotated[str, typer.Option("--model", "-m", help="A model id, alias, or id:variant.")]


def run() -> None:
    """Run the commands; an error is one line and exit code 1, Ctrl-C is 130."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    console.show_warnings()
    try:
        code = app(arguments, standalone_mode=False)
    except KeyboardInterrupt:
        console.err.print("interrupted")
        raise SystemExit(130) from None
    except typer.Abort:
        console.err.print("aborted")
        raise SystemExit(1) from None
    except RsEmbedError as error:
        if debug:
            raise
        console.fail(str(error))
        raise SystemExit(1) from None
    except Exception as error:
        if debug:
            raise
        if _shown(error):
            raise SystemExit(2) from None
        console.fail(f"{type(error).__name__}: {error} (add --debug for the trace)")
        raise SystemExit(1) from None
    raise SystemExit(code if isinstance(code, int) else 0)


def _shown(error: Exception) -> bool:
    """Print an error of usage as the command line itself words it."""
    show = getattr(error, "show", None)
    if show is None:
        return False
    show()
    return True


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Options of every command. `--debug` anywhere shows the trace of an error."""
    if version:
        from rs_embed import __version__

        console.say(f"rs-embed {__version__}")
        raise typer.Exit


@app.command()
def models() -> None:
    """List the models: id, variants, width, pixel size, window, licence."""
    from rs_embed.cli.pages import models_table

    console.out.print(models_table())


@app.command()
def info(model: ModelArg) -> None:
    """Tell what a model takes and gives: inputs, options, licence, citation, weights.

    Example: `rs-embed info prithvi_eo_v2_s2_6b:300m_tl`
    """
    from rs_embed.cli.pages import info_page

    for line in info_page(model):
        console.say(line)


@app.command()
def embed(
    target: Annotated[
        str, typer.Argument(help="A raster (GeoTIFF, netCDF, Zarr), or lon,lat of a place.")
    ],
    model: ModelOpt,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where to write: .tif (COG), .nc, .zarr or .npz.")
    ] = Path("embedding.nc"),
    pooled: Annotated[bool, typer.Option("--pooled", help="One vector instead of a grid.")] = False,
    buffer_m: Annotated[float, typer.Option(help="Half of the side around lon,lat, metres.")] = 1280,
    start: Annotated[str | None, typer.Option(help="First date, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Date after the last, YYYY-MM-DD.")] = None,
    backend: Annotated[str, typer.Option(help="Source of a place's imagery.")] = "gee",
    source: Annotated[
        str | None, typer.Option(help="File that backend 'local' reads.")
    ] = None,
    bands: Annotated[
        list[str] | None,
        typer.Option("--bands", help="Stand-in MODEL=FILE for a band, such as B8A=B8; repeatable."),
    ] = None,
    units: Annotated[str | None, typer.Option(help="Units of the raster's values.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Option NAME=VALUE of the model; repeatable.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Local weights file.")] = None,
    overlap: Annotated[int, typer.Option(help="0, or k for windows at 1/k stride.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Embed a raster, or a place, and write the result.

    Examples:

    `rs-embed embed scene.tif -m mosaiks -o scene_embedding.tif`

    `rs-embed embed 121.5,31.2 -m mosaiks --start 2022-06-01 --end 2022-09-01 --pooled -o place.npz`
    """
    from rs_embed.cli.work import Request, embed_to_file

    request = Request(
        target, model, out, pooled, buffer_m, start, end, backend, source,
        tuple(bands or ()), units, tuple(option or ()), weights, overlap, device,
    )  # fmt: skip
    for line in embed_to_file(request):
        console.say(line)


@app.command()
def check(
    raster: Annotated[Path, typer.Argument(help="GeoTIFF, netCDF or Zarr.")],
    model: ModelOpt,
    bands: Annotated[
        list[str] | None, typer.Option("--bands", help="Stand-in MODEL=FILE; repeatable.")
    ] = None,
    units: Annotated[str | None, typer.Option(help="Units of the raster's values.")] = None,
) -> None:
    """Tell what embedding a raster would do, and what is in the way; runs nothing.

    Exit code 1 where something is in the way. Example: `rs-embed check scene.tif -m galileo`
    """
    from rs_embed.cli.work import check_raster

    report = check_raster(raster, model, tuple(bands or ()), units)
    console.say(str(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def verify(
    model: ModelArg,
    fixtures: Annotated[
        Path | None, typer.Option(help="Folder of parity fixtures; those of the package's tests if not given.")
    ] = None,
) -> None:
    """Compare a model with what its authors' code computes, number by number.

    Example: `rs-embed verify galileo --fixtures tests/parity/data`
    """
    from rs_embed.cli.work import verify_model

    if not verify_model(model, fixtures):
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path("demo-out"),
    pictures: Annotated[bool, typer.Option(help="Draw pictures; needs the extra plot.")] = True,
) -> None:
    """Embed the bundled Sentinel-2 scene: grid, files, PCA picture, k-means map. No torch."""
    from rs_embed.demo import run_demo

    with console.progress("mosaiks over Patagonia") as report:
        for path, what in run_demo(out, pictures=pictures, progress=report):
            console.say(f"{path}  {what}")


@weights_app.command("list")
def weights_list() -> None:
    """List the weights of every model: file, size, pin, and whether they are here."""
    from rs_embed.cli.pages import weights_table

    console.out.print(weights_table())


@weights_app.command("fetch")
def weights_fetch(
    model: ModelArg,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large file.")] = False,
) -> None:
    """Download the weights of a model and check them.

    Example: `rs-embed weights fetch prithvi_eo_v2_s2_6b:tiny_tl`
    """
    from rs_embed.cli.work import fetch_weights

    for line in fetch_weights(model, yes):
        console.say(line)


@weights_app.command("verify")
def weights_verify(
    model: ModelArg,
    file: Annotated[Path | None, typer.Option(help="A local file instead of the cached one.")] = None,
) -> None:
    """Check weights that are here: size, SHA-256, and that every key fits the model."""
    from rs_embed.cli.work import verify_weights

    for line in verify_weights(model, file):
        console.say(line)
