"""What would happen to an array, told before anything does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from returns.result import Success

from rs_embed.core.grid import Grid
from rs_embed.core.prepare import padded_fraction
from rs_embed.core.resample import scaled_grid
from rs_embed.core.specs import OutputSpec
from rs_embed.pipeline.array_plan import ArrayPlan, ArrayValidation, plan_array
from rs_embed.pipeline.assemble import cell_grid
from rs_embed.raster.raster import pixel_size_m

_BATCH = 8  # windows a batch on a processor


@dataclass(frozen=True, repr=False)
class TilingSummary:
    """How an array is cut for a model, and what that takes.

    Parameters
    ----------
    grid : Grid
        The cells of a grid output, rows north-up.
    shape : tuple of int
        Of the result.
    dims : tuple of str
        Of the result.
    windows : int
        Runs of the model, over all dates.
    window_px, token_px, overlap : int
    patch_bytes : int
        All pixels that the model will see of the array, float32; a lazy array is never held whole.
    output_bytes : int
        The result, float32.
    working_bytes : int
        Held at once beside both: a batch of windows, and the cells before they take their
        final order. The model's own activations are not in it.
    """

    grid: Grid
    shape: tuple[int, ...]
    dims: tuple[str, ...]
    windows: int
    window_px: int
    token_px: int
    overlap: int
    patch_bytes: int
    output_bytes: int
    working_bytes: int

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return (
            f"({', '.join(self.dims)}) {size}, cells of {self.grid.resolution[0]:g} m; "
            f"{self.windows} windows of {self.window_px} px, tokens of {self.token_px} px; pixels "
            f"{_size(self.patch_bytes)}, output {_size(self.output_bytes)}, working memory "
            f"{_size(self.working_bytes)}"
        )


@dataclass(frozen=True, repr=False)
class ArrayReport:
    """What a model would meet in an array.

    Parameters
    ----------
    model : str
        Id and variant.
    ok : bool
        Whether `embed` would run.
    problems : tuple of str
        What stands in the way, each with its remedy.
    bands : mapping of str to str
        The model's bands and the array's that serve them; empty where they could not be matched.
    units : tuple of str
        Units of those bands in the array, in the model's order.
    model_units : tuple of str
        Units that they are converted to.
    pixel_m, model_m : float
        Metres on the ground of a pixel of the array, and of one that the model was trained on.
    dates : tuple of str
        The first day of each date of the array.
    embeddings : int
        How many the dates make.
    padded_fraction : float
        Share of the pixels in the windows that do not exist and will be filled.
    tiles : TilingSummary or None
        None where there is no plan.
    notes : mapping
        What will be decided on the way, as ``meta`` will tell it.
    """

    model: str
    ok: bool
    problems: tuple[str, ...] = ()
    bands: dict[str, str] = field(default_factory=dict)
    units: tuple[str, ...] = ()
    model_units: tuple[str, ...] = ()
    pixel_m: float | None = None
    model_m: float = 0.0
    dates: tuple[str, ...] = ()
    embeddings: int = 0
    padded_fraction: float = 0.0
    tiles: TilingSummary | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def report(found: ArrayValidation) -> ArrayReport:
    """What was found, and the plan where there is one."""
    model, outcome = found.model, plan_array(found)
    plan = outcome.unwrap() if isinstance(outcome, Success) else None
    raster = found.raster.unwrap() if isinstance(found.raster, Success) else None
    places = found.places.unwrap() if isinstance(found.places, Success) else ()
    groups = found.groups.unwrap() if isinstance(found.groups, Success) else ()
    ground = found.ground.unwrap()[1] if isinstance(found.ground, Success) else {}
    paired = zip(model.bands, places, strict=False) if raster and places else ()
    return ArrayReport(
        model=f"{model.id}:{model.variant.name}",
        ok=plan is not None,
        problems=found.problems(),
        bands={wanted: raster.bands[i] for wanted, i in paired} if raster else {},
        units=tuple(raster.units[i] for i in places) if raster else (),
        model_units=model.units,
        pixel_m=pixel_size_m(raster.grid) if raster else None,
        model_m=model.scale_m,
        dates=tuple(start for start, _ in raster.intervals) if raster else (),
        embeddings=len(groups),
        padded_fraction=padded_fraction(plan.plans[0]) if plan else 0.0,
        tiles=tiling_summary(plan, found.options.output) if plan else None,
        notes={**(raster.notes if raster else {}), **ground},
    )


def tiling_summary(plan: ArrayPlan, output: OutputSpec) -> TilingSummary:
    """Windows and memory of a plan, and the cells of its output."""
    planned, count = plan.plans[0], len(plan.plans)
    model = planned.model
    cells = cell_grid(planned)
    dims: tuple[str, ...] = ("feature",)
    shape: tuple[int, ...] = (model.dim,)
    grid = cells
    if output.mode == "grid":
        if output.cell_m is not None:
            grid = scaled_grid(cells, output.cell_m)
        dims, shape = ("feature", "y", "x"), (model.dim, *grid.shape)
    if plan.times is not None:
        dims, shape = ("time", *dims), (count, *shape)
    bands, dates = len(model.bands), max(len(one.indices) for one in plan.groups)
    windows = len(planned.tiling)
    side = planned.roi.height if planned.input_prep == "resize" else planned.tiling.window_px
    seen = planned.fetch_window[2] * planned.fetch_window[3]
    batch = min(_BATCH, windows * count) * dates * bands * side * side
    cells_held = count * math.prod(planned.tiling.cells) * model.dim
    return TilingSummary(
        grid, shape, dims, windows * count, planned.tiling.window_px, planned.tiling.token_px,
        planned.tiling.overlap, 4 * seen * bands * sum(len(one.indices) for one in plan.groups),
        4 * math.prod(shape), 4 * (2 * batch + cells_held),
    )  # fmt: skip


def _lines(check: ArrayReport) -> list[str]:
    lines = [f"{check.model}: {'ready' if check.ok else 'not ready'}"]
    lines += [f"  problem   {problem}" for problem in check.problems]
    if check.bands:
        pairs = (w if w == f else f"{w} = {f}" for w, f in check.bands.items())
        lines.append(f"  bands     {', '.join(pairs)}")
        lines.append(f"  units     {_units(check)}")
    if check.pixel_m is not None:
        lines.append(f"  pixels    {check.pixel_m:.4g} m; the model's own are {check.model_m:g} m")
    if check.dates:
        spans = f"{min(check.dates)} to {max(check.dates)}"
        lines.append(f"  dates     {len(check.dates)}, {spans}; embeddings: {check.embeddings}")
    if check.tiles is not None:
        tiles = check.tiles
        west, south, east, north = tiles.grid.bounds
        size = " x ".join(map(str, tiles.shape))
        lines += [
            f"  windows   {tiles.windows} of {tiles.window_px} px, tokens of {tiles.token_px} px, "
            f"overlap {tiles.overlap}, padding {check.padded_fraction:.1%}",
            f"  output    ({', '.join(tiles.dims)}) {size}, "
            f"cells of {tiles.grid.resolution[0]:g} m",
            f"  ground    {tiles.grid.crs}, {west:.10g} {south:.10g} {east:.10g} {north:.10g}",
            f"  memory    pixels {_size(tiles.patch_bytes)}, output {_size(tiles.output_bytes)}, "
            f"working {_size(tiles.working_bytes)}",
        ]
    lines += [f"  note      {name}: {value}" for name, value in check.notes.items()]
    return lines


def _units(check: ArrayReport) -> str:
    changes = dict.fromkeys(zip(check.units, check.model_units, strict=True))
    return ", ".join(have if have == need else f"{have} to {need}" for have, need in changes)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError
