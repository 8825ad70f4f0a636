"""Numbers of numpy are numbers: accepted wherever Python's are, and kept as Python's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rs_embed import ModelChoice, OutputSpec, SensorSpec
from rs_embed.analysis.components import pca
from rs_embed.analysis.kmeans import kmeans
from rs_embed.analysis.similarity import similarity
from rs_embed.core.choice import resolve
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.scalars import python_scalar
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.pipeline.export_plan import shards
from rs_embed.pipeline.export_request import ExportRequest
from rs_embed.pipeline.options import EmbedOptions


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int8(-3), -3), (np.uint64(7), 7), (np.float32(0.5), 0.5), (np.bool_(False), False),
        (np.str_("mean"), "mean"), (np.array(4), 4), (5, 5), (None, None), ("x", "x"),
    ],
)  # fmt: skip
def test_scalars_become_pythons_own(value, plain):
    found = python_scalar(value)
    assert found == plain
    assert type(found) is type(plain)


def test_an_array_with_dimensions_stays_one():
    array = np.array([1])
    assert python_scalar(array) is array


@pytest.mark.parametrize("model", sorted(MODEL_SPECS))
def test_every_option_takes_numpys_kind_of_its_default(model):
    spec = MODEL_SPECS[model]
    plain = {o.name: o.default for o in spec.options if o.default is not None}
    typed = {name: _numpy(value) for name, value in plain.items()}
    one, other = ModelChoice(model, options=plain), ModelChoice(model, options=typed)
    assert one == other
    assert hash(one) == hash(other)
    assert {type(value) for value in other.options.values()} <= {int, float, bool, str}
    assert unwrap_or_raise(resolve(spec, one)) == unwrap_or_raise(resolve(spec, other))


def _numpy(value: Any) -> Any:
    return np.asarray(value)[()]


def test_fields_of_requests_are_pythons_own():
    options = EmbedOptions(
        OutputSpec.grid(), overlap=np.int64(2), batch_size=np.uint8(4), strict=np.bool_(True)
    )
    assert repr(options) == repr(
        EmbedOptions(OutputSpec.grid(), overlap=2, batch_size=4, strict=True)
    )
    sensor = SensorSpec("X", ("B2",), check_input=np.bool_(True), cloudy_pct=np.int32(40))
    assert repr(sensor) == repr(SensorSpec("X", ("B2",), check_input=True, cloudy_pct=40))
    request = ExportRequest((), None, (), resume=np.bool_(True), chunk_size=np.int16(3))
    assert dataclasses.asdict(request) == dataclasses.asdict(
        ExportRequest((), None, (), resume=True, chunk_size=3)
    )
    assert type(request.resume) is bool
    assert type(request.chunk_size) is int
    assert unwrap_or_raise(shards((), np.int64(3))) == ()


def test_analysis_takes_numpys_numbers():
    from affine import Affine

    from rs_embed.core.grid import Grid
    from rs_embed.raster.embedding_array import grid_array

    grid = Grid("EPSG:32719", Affine(10, 0, 600000, 0, -10, 4700020), (4, 5))
    cells = np.random.default_rng(3).normal(size=(3, 4, 5)).astype("float32")
    array = grid_array(cells, grid, {"model": "toy"})
    assert pca(array, np.int64(2)).unwrap().identical(pca(array, 2).unwrap())
    groups = kmeans(array, np.int64(2), seed=np.int32(1)).unwrap()
    assert groups.identical(kmeans(array, 2, seed=1).unwrap())
    lon, lat = _middle(grid)
    near = similarity(array, (np.float64(lon), np.float64(lat))).unwrap()
    assert near.identical(similarity(array, (lon, lat)).unwrap())
    told = str(similarity(array, (np.float64(0), np.float64(0))).failure())
    assert "(0.0, 0.0)" in told


def _middle(grid: Any) -> tuple[float, float]:
    from rs_embed.core.crs import project

    west, south, east, north = grid.bounds
    x, y = np.array([(west + east) / 2 + 1]), np.array([(south + north) / 2 + 1])
    lon, lat = project(x, y, grid.crs, "EPSG:4326")
    return float(lon[0]), float(lat[0])
