"""Which models fit an array: a check of each, running none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rs_embed.core.model import ModelChoice, ModelSpec
from rs_embed.core.result import Outcome, collect
from rs_embed.core.specs import OutputSpec, TemporalSpec
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.pipeline.array_report import ArrayReport
from rs_embed.pipeline.arrays import check_array
from rs_embed.pipeline.options import ArrayOptions, EmbedOptions

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, slots=True)
class ModelFit:
    """Whether a model fits an array.

    Parameters
    ----------
    model : str
        Id of the model.
    modality : str
        The first of its modalities that fits; its default where none does.
    fits : bool
    reasons : tuple of str
        What stands in the way in the default modality, each with its remedy.
    """

    model: str
    modality: str
    fits: bool
    reasons: tuple[str, ...] = ()


def fitting_models(
    obj: xr.DataArray | xr.Dataset,
    *,
    temporal: TemporalSpec | None = None,
    bands: Any = None,
    units: Any = None,
    crs: Any = None,
) -> Outcome[tuple[ModelFit, ...]]:
    """Every model of the catalogue, and whether it fits; reads no pixel and loads no weights."""
    options = EmbedOptions(OutputSpec.grid(), temporal)
    array = ArrayOptions(bands=bands, units=units, crs=crs)
    return collect(_fit(spec, obj, options, array) for spec in MODEL_SPECS.values()).map(tuple)


def _fit(
    spec: ModelSpec, obj: Any, options: EmbedOptions, array: ArrayOptions
) -> Outcome[ModelFit]:
    names = list(spec.modalities)
    reports = collect(
        check_array(obj, ModelChoice(spec.id, modality=name), options, array) for name in names
    )

    def judged(found: list[ArrayReport]) -> ModelFit:
        good = [name for name, one in zip(names, found, strict=True) if one.ok]
        if good:
            return ModelFit(spec.id, good[0], True)
        return ModelFit(spec.id, names[0], False, found[0].problems)

    return reports.map(lambda found: judged(list(found)))
