"""The pipeline in one call, places to run it at, and a source that ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from rs_embed import ModelChoice, OutputSpec, PointBuffer, TemporalSpec, register_model
from rs_embed.core.choice import resolve
from rs_embed.core.crs import project
from rs_embed.core.model import ModelSpec
from rs_embed.embedders import catalog
from rs_embed.embedders.runtime import load
from rs_embed.pipeline import encode_inputs, fetch, plan, tiled_input
from rs_embed.pipeline.assemble import assemble_embedding
from rs_embed.plugins.notices import forget
from rs_embed.providers.base import Provider
from rs_embed.providers.memory import MemoryProvider
from tests.toys import toy

SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
PROVIDER = MemoryProvider()
TOY = toy()


@contextmanager
def registered(*specs: ModelSpec) -> Iterator[None]:
    """Models in the catalogue for as long as it lasts; notices are said anew."""
    forget()
    for spec in specs:
        register_model(spec)
    try:
        yield
    finally:
        for spec in specs:
            catalog._REGISTERED.pop(spec.id, None)
        forget()


def at(row=0.0, col=0.0, side_px=128, zone="EPSG:32631"):
    """A square whose upper-left pixel is (row, col) of a lattice of 10 m in Holland."""
    x, y = 600_000 + 10 * (col + side_px / 2), 5_800_000 - 10 * (row + side_px / 2)
    lon, lat = project(x, y, zone, "EPSG:4326")
    return PointBuffer(float(lon), float(lat), side_px * 5)


def model_of(spec=TOY, **options):
    return resolve(spec, ModelChoice(spec.id, options=options)).unwrap()


@dataclasses.dataclass
class Ended(Provider):
    """The memory provider with an end: pixels beyond a grid, or inside holes, do not exist."""

    grid: object
    holes: object = None
    inner: MemoryProvider = PROVIDER
    name: str = "ended"
    workers: int = 1
    fetch_window: int = 0

    def describe(self, item, sensor):
        return self.inner.describe(item, sensor).map(
            lambda source: dataclasses.replace(source, grid=self.grid)
        )

    def fetch(self, plan):
        self.fetch_window += 1

        def holed(patch):
            if self.holes is None:
                return patch
            data = patch.data.copy()
            x, y = np.meshgrid(patch.grid.x(), patch.grid.y())
            data[..., self.holes(x, y)] = np.nan
            return dataclasses.replace(patch, data=data)

        return self.inner.fetch(plan).map(holed)


def run(spec, spatial, provider=PROVIDER, output=None, temporal=SUMMER, sensor=None, **keywords):
    """The steps one by one, as analysis code would take them."""
    options = keywords.pop("options", {})
    planned = plan(
        model_of(spec, **options), spatial, temporal, provider, sensor=sensor, **keywords
    ).unwrap()
    ready = tiled_input(planned, fetch(planned, provider).unwrap()).unwrap()
    loaded = load(planned.model).unwrap()
    return assemble_embedding(
        planned, encode_inputs(loaded, [ready])[0], output or OutputSpec.grid(), {}
    )


def roi_of(place, spec=TOY):
    return plan(model_of(spec), place, SUMMER, PROVIDER).unwrap().roi
