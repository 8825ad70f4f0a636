from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure

from rs_embed import BBox, ModelChoice, OutputSpec, PointBuffer, SensorSpec, TemporalSpec
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.grid import Grid, roi_grid
from rs_embed.core.plan import FetchPlan
from rs_embed.export.serial import from_json, to_json
from tests.strategies import choices, fetch_plans, grids, outputs, sensors, spatials, temporals

SENSOR = SensorSpec("C", ("B4", "B3"), scale_m=20, fill_value=math.nan)
GRID = roi_grid(PointBuffer(-72.5, -47.8, 640), 10).unwrap()
VALUES = [
    BBox(5, 52, 5.1, 52.1),
    PointBuffer(5.0, 52.0, 640.0),
    TemporalSpec.year(2022),
    TemporalSpec.range("2022-06-01", "2022-09-01"),
    SENSOR,
    OutputSpec.grid(20, grid_orientation="native"),
    ModelChoice("galileo", "nano", options={"window_px": 64, "type": "x"}),
    GRID,
    FetchPlan("C", ("B4",), ("reflectance",), GRID, (("2022-06-01", "2022-09-01"),), SENSOR, "f0"),
]


@given(st.one_of(spatials, temporals(), sensors, outputs, choices, grids(), fetch_plans()))
def test_json_and_back(value):
    text = json.dumps(to_json(value), allow_nan=False)
    back = from_json(json.loads(text)).unwrap()
    assert type(back) is type(value)
    assert json.dumps(to_json(back), allow_nan=False) == text
    if not any(isinstance(v, float) and math.isnan(v) for v in _leaves(value)):
        assert back == value
    if isinstance(value, FetchPlan):
        assert back.fingerprint == value.fingerprint


def _leaves(value):
    if hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _leaves(getattr(value, name))
    else:
        yield value


def test_json_and_back_in_another_process():
    sent = [to_json(value) for value in VALUES]
    code = (
        "import json, sys; from rs_embed.export.serial import from_json, to_json; "
        "values = [from_json(one).unwrap() for one in json.load(sys.stdin)]; "
        "print(json.dumps([to_json(v) for v in values], allow_nan=False)); "
        "print([repr(v) for v in values])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(sent, allow_nan=False), capture_output=True, text=True, check=True,
    )  # fmt: skip
    data, texts = done.stdout.splitlines()
    assert json.loads(data) == sent
    assert texts == repr([repr(value) for value in VALUES])


@pytest.mark.parametrize("value", VALUES)
def test_every_field_has_to_be_there_and_no_other(value):
    data = to_json(value)
    for name in set(data) - {"type"}:
        short = {k: v for k, v in data.items() if k != name}
        error = from_json(short).failure()
        assert type(error) is SpecError
        assert name in str(error)
    error = from_json({**data, "colour": 1}).failure()
    assert "colour" in str(error)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "BBox",
        {},
        {"type": "Patch"},
        {"type": []},
        {**to_json(VALUES[0]), "minlon": "5"},
        {**to_json(VALUES[0]), "minlon": 6},
        {**to_json(VALUES[1]), "buffer_m": -1},
        {**to_json(VALUES[2]), "year": "2022"},
        {**to_json(VALUES[3]), "end": "2022-01-01"},
        {**to_json(VALUES[4]), "bands": "B4"},
        {**to_json(VALUES[4]), "fill_value": "none"},
        {**to_json(VALUES[5]), "mode": "list"},
        {**to_json(VALUES[6]), "options": [1]},
        {**to_json(VALUES[6]), "variant": 3},
        {**to_json(VALUES[7]), "shape": [0, 4]},
        {**to_json(VALUES[7]), "shape": [2.0, 4]},
        {**to_json(VALUES[7]), "transform": [10, 0, 0]},
        {**to_json(VALUES[7]), "transform": [0, 0, 0, 0, 0, 0]},
        {**to_json(VALUES[7]), "crs": 32719},
        {**to_json(VALUES[8]), "grid": to_json(VALUES[0])},
        {**to_json(VALUES[8]), "units": []},
        {**to_json(VALUES[8]), "intervals": [["2022-06-01"]]},
        {**to_json(VALUES[8]), "sensor": {"type": "SensorSpec"}},
    ],
)
def test_what_is_not_valid_is_a_spec_error(data):
    outcome = from_json(data)
    assert isinstance(outcome, Failure)
    assert type(outcome.failure()) is SpecError


def test_a_choice_without_a_model_is_a_model_error():
    error = from_json({**to_json(VALUES[6]), "id": ""}).failure()
    assert type(error) is ModelError


def test_grid_keeps_its_crs_and_floats_exactly():
    back = from_json(json.loads(json.dumps(to_json(GRID)))).unwrap()
    assert isinstance(back, Grid)
    assert back == GRID
    assert hash(back) == hash(GRID)
