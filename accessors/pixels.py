"""What both accessors share: the methods that take pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import OutputSpec, TemporalSpec

if TYPE_CHECKING:
    from rs_embed.core.grid import Grid
    from rs_embed.core.model import ModelChoice
    from rs_embed.core.patch import Patch
    from rs_embed.pipeline import Progress
    from rs_embed.pipeline.array_report import ArrayReport, TilingSummary


class PixelsAccessor:
    """Embeddings of pixels; every method is one call of a function in `rs_embed.pipeline`."""

    def __init__(self, obj: Any) -> None:
        # Nothing else: an error here would break even hasattr(array, "rsembed").
        self._obj = obj

    def __repr__(self) -> str:
        from rs_embed.pipeline.arrays import line_of

        return line_of(self._obj)

    def embed(
        self,
        model: str | ModelChoice | list[str | ModelChoice] | tuple[str | ModelChoice, ...],
        *,
        output: OutputSpec = OutputSpec.grid(),  # noqa: B008  # frozen
        temporal: TemporalSpec | None = None,
        bands: Mapping[str, str] | Sequence[str] | None = None,
        units: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        device: str = "auto",
        input_prep: Literal["native", "resize"] = "native",
        overlap: int = 0,
        batch_size: int | None = None,
        progress: Progress | None = None,
        time: Literal["each", "composite"] = "each",
        crs: Any = None,
        strict: bool = False,
    ) -> Any:
        """The embedding of the array.

        Parameters
        ----------
        model : str or ModelChoice, or a list of them
            ``"id"``, ``"id:variant"``, or a ModelChoice with options. A list gives a dict of
            arrays by what was given, since grids differ.
        output : OutputSpec
            A grid of cells, or one pooled vector.
        temporal : TemporalSpec, optional
            Of a dated array: the window, outside of which dates are left out (default: from its
            first date to its last). Of an undated one: when it was taken.
        bands : sequence or mapping of str, optional
            A sequence names the array's bands in order; a mapping puts a band in another's place,
            ``{"B8A": "B8"}``.
        units : str, sequence or mapping of str, optional
            Units of the values, for all bands, by date or by band; see
            `rs_embed.core.units.MEANINGS`.
        device : {"auto", "cpu", "cuda"}
        input_prep : {"native", "resize"}
            Windows at the model's own resolution, or the whole array resampled to one window.
        overlap : int
            0, or k >= 2 for windows at 1/k stride whose tokens are averaged.
        batch_size : int, optional
            Windows a batch.
        progress : callable, optional
            ``progress(done, total)``, in windows.
        time : {"each", "composite"}
            Of a time axis, for single-date models: one embedding a date, or one of the median over
            all. Models of series take the dates in their own cadence.
        crs : str, optional
            Where the array does not tell its own. ``("override", crs)`` holds against the array's.
        strict : bool
            Values that their units contradict, infinite ones, and fills that nobody declared are
            an error, where else they are a warning and ``meta["value_warnings"]``.

        Returns
        -------
        DataArray
            float32 ``("feature", "y", "x")`` with CRS, transform and cell centres; ``("feature",)``
            when pooled; ``"time"`` in front for one embedding a date. NaN where no pixel of a cell
            is valid. ``attrs["rs_embed_meta"]`` is the whole description as JSON.

        Raises
        ------
        SpecError
            For an array or keyword that cannot be used; the message names the mending call.
        ModelError
            For an unknown model, variant, option or device.
        """
        from rs_embed.pipeline.arrays import embed_array
        from rs_embed.pipeline.options import ArrayOptions, EmbedOptions

        options = EmbedOptions(
            output, temporal, device=device, input_prep=input_prep, overlap=overlap,
            batch_size=batch_size, progress=progress, strict=strict,
        )  # fmt: skip
        own = ArrayOptions(bands, units, time, crs)
        return unwrap_or_raise(embed_array(self._obj, model, options, own))

    def check(
        self,
        model: str | ModelChoice,
        *,
        output: OutputSpec = OutputSpec.grid(),  # noqa: B008  # frozen
        temporal: TemporalSpec | None = None,
        bands: Mapping[str, str] | Sequence[str] | None = None,
        units: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        input_prep: Literal["native", "resize"] = "native",
        overlap: int = 0,
        time: Literal["each", "composite"] = "each",
        crs: Any = None,
    ) -> ArrayReport:
        """What `embed` would do: bands, units, scale, windows, padding, output, memory, problems.

        Runs nothing, loads no weights, computes no lazy value. An array or keyword that cannot be
        used is told in ``problems``, not raised; ``ok`` says whether there are none.

        Raises
        ------
        ModelError
            For an unknown model, variant or option.
        """
        from rs_embed.pipeline.arrays import check_array
        from rs_embed.pipeline.options import ArrayOptions, EmbedOptions

        options = EmbedOptions(output, temporal, input_prep=input_prep, overlap=overlap)
        own = ArrayOptions(bands, units, time, crs)
        return unwrap_or_raise(check_array(self._obj, model, options, own))

    def tiles(
        self,
        model: str | ModelChoice,
        *,
        output: OutputSpec = OutputSpec.grid(),  # noqa: B008  # frozen
        temporal: TemporalSpec | None = None,
        bands: Mapping[str, str] | Sequence[str] | None = None,
        units: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        input_prep: Literal["native", "resize"] = "native",
        overlap: int = 0,
        time: Literal["each", "composite"] = "each",
        crs: Any = None,
    ) -> TilingSummary:
        """The output grid, the windows, and the memory that `embed` would take.

        Raises
        ------
        SpecError, ModelError
            As `embed` would, before it runs.
        """
        from rs_embed.pipeline.arrays import tiles_of
        from rs_embed.pipeline.options import ArrayOptions, EmbedOptions

        options = EmbedOptions(output, temporal, input_prep=input_prep, overlap=overlap)
        own = ArrayOptions(bands, units, time, crs)
        return unwrap_or_raise(tiles_of(self._obj, model, options, own))

    @property
    def grid(self) -> Grid:
        """CRS, transform and shape of the array, its rows in their own order.

        Raises
        ------
        SpecError
            Where the array has no CRS, or no straight and even grid.
        """
        from rs_embed.pipeline.arrays import grid_of

        return unwrap_or_raise(grid_of(self._obj))

    def to_patch(
        self,
        *,
        bands: Mapping[str, str] | Sequence[str] | None = None,
        units: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        crs: Any = None,
    ) -> Patch:
        """All pixels on the array's own grid, north-up, for the functions of `rs_embed.pipeline`.

        Parameters
        ----------
        bands : sequence of str, optional
            Names of the array's bands, in order, where it has none.
        units : str or mapping of str to str, optional
            Units of the values, where the array does not tell.
        crs : str, optional
            Where the array does not tell its own; ``("override", crs)`` holds against it.

        Returns
        -------
        Patch
            ``data`` is ``(T, C, H, W)`` float32, NaN for missing. A lazy array is computed.

        Raises
        ------
        SpecError
        """
        from rs_embed.pipeline.arrays import to_patch

        return unwrap_or_raise(to_patch(self._obj, bands=bands, units=units, crs=crs))
