from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure

from rs_embed import SpecError, TemporalSpec
from rs_embed.core.model import Cadence
from rs_embed.core.times import TimeGroup, composite, median, plan_time_groups

SINGLE, NONE = Cadence(), Cadence("none")
MONTHS, FOUR = Cadence("months", 12), Cadence("equal", 4)
DAYS = tuple((d, e) for d, e in [
    ("2022-06-03", "2022-06-04"), ("2022-06-13", "2022-06-14"), ("2022-08-01", "2022-08-02"),
])  # fmt: skip
SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")


def steps(*args):
    return plan_time_groups(*args).unwrap()


def message(*args):
    outcome = plan_time_groups(*args)
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.failure(), SpecError)
    return str(outcome.failure())


def test_each_date_is_a_step():
    assert steps(SINGLE, DAYS, None, "each") == tuple(
        TimeGroup((day,), ((i,),), TemporalSpec.range(*day)) for i, day in enumerate(DAYS)
    )


def test_dates_outside_the_temporal_are_left_out():
    june = TemporalSpec.range("2022-06-04", "2022-08-01")
    assert [s.indices for s in steps(SINGLE, DAYS, june, "each")] == [((1,),)]


def test_composite_of_all_dates():
    assert steps(SINGLE, DAYS, None, "composite") == (
        TimeGroup(
            (("2022-06-03", "2022-08-02"),), ((0, 1, 2),),
            TemporalSpec.range("2022-06-03", "2022-08-02"),
        ),
    )  # fmt: skip
    assert steps(SINGLE, DAYS, SUMMER, "composite")[0].intervals == (("2022-06-01", "2022-09-01"),)


def test_a_model_without_time_sees_no_dates():
    assert [s.intervals for s in steps(NONE, DAYS, None, "each")] == [(), (), ()]
    assert steps(NONE, DAYS, None, "composite")[0].intervals == ()
    assert steps(NONE, DAYS, None, "composite")[0].indices == ((0, 1, 2),)


def test_months():
    (step,) = steps(MONTHS, DAYS, None, "each")
    assert step.intervals == (
        ("2022-06-03", "2022-07-01"), ("2022-07-01", "2022-08-01"), ("2022-08-01", "2022-08-02"),
    )  # fmt: skip
    assert step.indices == ((0, 1), (), (2,))


def test_equal_bins():
    (step,) = steps(FOUR, DAYS, SUMMER, "each")
    assert step.indices == ((0, 1), (), (2,), ())
    assert step.intervals[0][0] == "2022-06-01"
    assert step.intervals[-1][1] == "2022-09-01"


def test_one_equal_bin_is_a_single_date():
    assert len(steps(Cadence("equal", 1), DAYS, None, "each")) == 3


def test_undated():
    assert steps(SINGLE, (), None, "each") == (TimeGroup((), ((0,),), None),)
    assert steps(NONE, (), None, "each") == (TimeGroup((), ((0,),), None),)
    assert steps(SINGLE, (), SUMMER, "each") == (
        TimeGroup((("2022-06-01", "2022-09-01"),), ((0,),), SUMMER),
    )
    (step,) = steps(MONTHS, (), SUMMER, "each")
    assert step.indices == ((), (0,), ())  # mid July


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((MONTHS, (), None, "each"), "temporal=TemporalSpec.range"),
        ((MONTHS, DAYS, None, "composite"), "leave time out"),
        ((SINGLE, DAYS, None, "all"), "'each' or 'composite'"),
        ((SINGLE, DAYS, TemporalSpec.year(2021), "each"), "from 2022-06-03 to 2022-08-01"),
        ((SINGLE, DAYS, TemporalSpec.range("2022-06-01", "2022-05-01"), "each"), "2022-05-01"),
        ((SINGLE, DAYS, "2022", "each"), "TemporalSpec"),
        ((FOUR, DAYS[:1], None, "each"), "widen the temporal"),
    ],
)
def test_what_cannot_be(args, said):
    assert said in message(*args)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_median_is_numpys(count, seed, share):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(count, 2, 3, 4)).astype(np.float32)
    data[rng.random(data.shape) < share] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wanted = np.nanmedian(data, axis=0)
    np.testing.assert_array_equal(median(data), wanted)


def test_composite_of_bins():
    data = np.arange(3, dtype=np.float32)[:, None, None, None] * np.ones((3, 1, 2, 2), np.float32)
    out = composite(data, ((0, 2), (), (1,)))
    assert out.shape == (3, 1, 2, 2)
    assert (out[0] == 1).all()
    assert np.isnan(out[1]).all()
    assert (out[2] == 1).all()
    assert composite(data, ((0,), (1,), (2,))) is data
