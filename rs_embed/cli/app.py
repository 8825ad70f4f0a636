"""The commands of ``rs-embed``; each is a few lines over a public function."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from rs_embed.cli import console, interrupts
from rs_embed.cli.usage import WrongUsageError
from rs_embed.cli.weights import weights_app
from rs_embed.cli.words import (
    BandsOpt,
    CrsOpt,
    EndOpt,
    ModalityOpt,
    ModelArg,
    ModelOpt,
    OptionOpt,
    OverlapOpt,
    PrepOpt,
    StartOpt,
    TimeOpt,
    UnitsOpt,
    model_names,
)
from rs_embed.core.errors import RsEmbedError

app = typer.Typer(
    name="rs-embed",
    epilog="Start with `rs-embed demo`. Exit codes: 0 done, 1 failed, 2 wrong usage, "
    "130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(weights_app, name="weights")


def run() -> None:
    """Run the commands: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in sys.argv
    arguments = [_shielded(a) for a in sys.argv[1:] if a != "--debug"]
    console.show_warnings()
    try:
        code = app(arguments, prog_name="rs-embed", standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        if interrupts.came():
            raise KeyboardInterrupt from None
        console.err.print("aborted")
        raise SystemExit(1) from None
    except BrokenPipeError:
        # The reader left, as `head` does. What is still in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except RsEmbedError as error:
        if debug:
            raise
        console.fail(str(error))
        raise SystemExit(2 if isinstance(error, WrongUsageError) else 1) from None
    except Exception as error:
        if interrupts.came():
            raise KeyboardInterrupt from error
        if debug:
            raise
        if _shown(error):
            raise SystemExit(2) from None
        console.fail(f"{type(error).__name__}: {error} (add --debug for the trace)")
        raise SystemExit(1) from None
    if interrupts.came():
        code = 130
    if code == 130:
        console.err.print("interrupted")
    raise SystemExit(code if isinstance(code, int) else 0)


def _shielded(argument: str) -> str:
    """A place west of Greenwich begins with a minus sign and is no option all the same."""
    return f" {argument}" if re.match(r"-[\d.]+,", argument) else argument


def _shown(error: Exception) -> bool:
    """Print an error of usage as the command line itself words it."""
    show = getattr(error, "show", None)
    if show is None:
        return False
    show()
    return True


def _version(wanted: bool) -> None:
    if wanted:
        from rs_embed.core.version import __version__

        console.say(f"rs-embed {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error; may stand anywhere.")
    ] = False,
) -> None:
    """Embeddings of remote-sensing foundation models for any place, any time and any raster."""


@app.command()
def models(
    raster: Annotated[
        Path | None, typer.Option("--for", help="Only tell which of them fit this raster, and why.")
    ] = None,
    bands: BandsOpt = None,
    units: UnitsOpt = None,
    crs: CrsOpt = None,
) -> None:
    """List the models. The default variant has a star.

    For example:

    `rs-embed models`

    `rs-embed models | cut -f1`

    `rs-embed models --for scene.tif`
    """
    from rs_embed.cli.pages import FITS_HEAD, MODELS_HEAD, fits_rows, models_rows
    from rs_embed.cli.work import fits_of

    if raster is not None:
        console.table(FITS_HEAD, fits_rows(fits_of(raster, tuple(bands or ()), units, crs)))
        return
    if bands or units or crs:
        raise WrongUsageError("--bands, --units and --crs go with --for RASTER")
    console.table(MODELS_HEAD, models_rows())


@app.command()
def info(model: ModelArg) -> None:
    """Tell what a model takes and gives: inputs, options, licence, citation, weights.

    For example: `rs-embed info prithvi_eo_v2_s2_6b:300m_tl`
    """
    from rs_embed.cli.pages import info_facts

    console.facts(info_facts(model))


@app.command()
def embed(
    target: Annotated[
        str,
        typer.Argument(metavar="RASTER|LON,LAT", help="GeoTIFF, netCDF or Zarr; or a place."),
    ],
    model: ModelOpt,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where to write: .tif (COG), .nc, .zarr or .npz.")
    ] = Path("embedding.nc"),
    pooled: Annotated[bool, typer.Option("--pooled", help="One vector instead of a grid.")] = False,
    pooling: Annotated[
        Literal["mean", "max", "model"] | None,
        typer.Option(
            help="With --pooled.",
            show_default="mean",
        ),
    ] = None,
    modality: ModalityOpt = None,
    option: OptionOpt = None,
    weights: Annotated[
        str | None, typer.Option(help="A local file instead of the published weights.")
    ] = None,
    start: StartOpt = None,
    end: EndOpt = None,
    bands: BandsOpt = None,
    units: UnitsOpt = None,
    crs: CrsOpt = None,
    time: TimeOpt = "each",
    buffer_m: Annotated[
        float | None,
        typer.Option(help="Half of the side around LON,LAT, metres.", show_default="1280"),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Where LON,LAT's pixels come from.", show_default="gee")
    ] = None,
    source: Annotated[str | None, typer.Option(help="What backend local reads.")] = None,
    input_prep: PrepOpt = "native",
    overlap: OverlapOpt = 0,
    batch_size: Annotated[int | None, typer.Option(help="Windows a batch.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that rs-embed did not write.")
    ] = False,
) -> None:
    """Embed a raster, or a place, and write the result.

    For example:

    `rs-embed embed scene.tif -m mosaiks -o grid.tif`

    `rs-embed embed scene.nc -m prithvi --bands B8A=B8 --start 2022-06-01 --end 2022-06-02`

    `rs-embed embed -67.645,-47.852 -m mosaiks --backend sample --pooled -o place.npz`
    """
    from rs_embed.cli.work import CliArgs, Output, Place, embed_to_file

    request = CliArgs(
        model, modality, tuple(option or ()), weights, start, end, tuple(bands or ()), units, crs,
        time, pooled, pooling, input_prep, overlap,
    )  # fmt: skip
    place = Place(buffer_m, backend, source)
    output = Output(out, overwrite)
    console.say(embed_to_file(target.strip(), output, request, place, device, batch_size))


@app.command()
def export(
    places: Annotated[
        Path,
        typer.Argument(
            metavar="PLACES", help="CSV (lon, lat or a box), GeoJSON, GeoParquet, GeoPackage."
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="A model id, alias, or id:variant; repeatable.",
            autocompletion=model_names,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder, or one file with the format's suffix.")
    ],
    start: StartOpt = None,
    end: EndOpt = None,
    buffer_m: Annotated[
        float | None, typer.Option(help="Half of the side around points, metres.")
    ] = None,
    format: Annotated[str, typer.Option(help="npz, netcdf, zarr, geoparquet or cog.")] = "npz",
    grid: Annotated[bool, typer.Option("--grid", help="Grids instead of vectors.")] = False,
    inputs: Annotated[bool, typer.Option(help="Save the pixels too, where the format can.")] = True,
    backend: Annotated[str, typer.Option(help="Where pixels come from.")] = "gee",
    source: Annotated[str | None, typer.Option(help="What backend local reads.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is there; compute the rest.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Note what fails, and go on.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it would take; fetch nothing.")
    ] = False,
) -> None:
    """Embed many places with one or more models, and write a data set.

    For example:

    `rs-embed export places.csv -m mosaiks --start 2022-06-01 --end 2022-09-01 -o vectors`

    `rs-embed export fields.geojson -m galileo -m mosaiks -o all.parquet --format geoparquet`
    """
    from rs_embed.cli.export import ExportArgs, export_places

    words = ExportArgs(
        tuple(model), out, start, end, buffer_m, format, grid, inputs, backend, source, device,
        resume, keep_going, dtype, dry_run,
    )  # fmt: skip
    console.say(export_places(places, words))


@app.command()
def check(
    raster: Annotated[Path, typer.Argument(metavar="RASTER", help="GeoTIFF, netCDF or Zarr.")],
    model: ModelOpt,
    modality: ModalityOpt = None,
    option: OptionOpt = None,
    start: StartOpt = None,
    end: EndOpt = None,
    bands: BandsOpt = None,
    units: UnitsOpt = None,
    crs: CrsOpt = None,
    time: TimeOpt = "each",
    input_prep: PrepOpt = "native",
    overlap: OverlapOpt = 0,
) -> None:
    """Tell what embedding a raster would do, and what is in the way; runs nothing.

    Exit code 1 where something is in the way.

    For example: `rs-embed check scene.tif -m galileo`
    """
    from rs_embed.cli.work import CliArgs, check_raster

    request = CliArgs(
        model, modality, tuple(option or ()), None, start, end, tuple(bands or ()), units, crs,
        time, input_prep=input_prep, overlap=overlap,
    )  # fmt: skip
    report = check_raster(raster, request)
    console.say(str(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def verify(
    model: ModelArg,
    fixtures: Annotated[
        Path | None,
        typer.Option(help="Folder of parity fixtures.", show_default="those in the package"),
    ] = None,
) -> None:
    """Compare a model with what its authors' code computes, number by number.

    A line a fixture: the largest difference, and the share of the allowed one that it takes.
    Exit code 1 where one is over.

    For example: `rs-embed verify galileo`
    """
    from rs_embed.cli.work import verify_model

    if not verify_model(model, fixtures):
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path(
        "demo-out"
    ),
    pictures: Annotated[bool, typer.Option(help="Draw pictures; needs the extra plot.")] = True,
) -> None:
    """Embed the bundled Sentinel-2 scene and write grid, classes and pictures. Needs no torch.

    For example: `rs-embed demo --out demo-out`
    """
    from rs_embed.cli.demo import run_demo

    with console.progress("mosaiks over Patagonia") as report:
        for path, what in run_demo(out, pictures=pictures, progress=report):
            console.say(f"{path}  {what}")
