"""Errors, outcomes, the table of loaded models, patches and padding."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
from affine import Affine
from returns.result import Failure, Success

from rs_embed.core import registry
from rs_embed.core.errors import ModelError, ProviderError, RsEmbedError, SpecError
from rs_embed.core.grid import Grid
from rs_embed.core.patch import Patch, any_valid, in_units, stack_readers
from rs_embed.core.prepare import valid_tokens
from rs_embed.core.result import caused, collect, unwrap_or_raise

GRID = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_000_000), (4, 4))

# --- errors and outcomes ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SpecError, ProviderError, ModelError])
def test_errors_pickle_with_all_they_say(kind):
    error = kind("what, and what to do", transient=True)
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is kind
    assert (str(twin), twin.message, twin.transient) == (str(error), error.message, True)
    assert isinstance(error, RsEmbedError)
    assert not kind("x").transient


def test_a_failure_is_raised_as_the_error_it_carries():
    error = ProviderError("gone")
    assert unwrap_or_raise(Success(3)) == 3
    assert unwrap_or_raise(Success(None)) is None
    with pytest.raises(ProviderError) as raised:
        unwrap_or_raise(Failure(error))
    assert raised.value is error


def test_collect_is_all_or_the_first_failure():
    assert collect([Success(1), Success(2)]) == Success((1, 2))
    assert collect([]) == Success(())
    first, second = SpecError("first"), SpecError("second")
    asked = []

    def outcomes():
        for item in (Success(1), Failure(first), Failure(second)):
            asked.append(item)
            yield item

    assert collect(outcomes()).failure() is first
    assert len(asked) == 2


def test_a_cause_shows_in_the_traceback():
    cause = OSError("disk")
    error = caused(ProviderError("cannot read"), by=cause)
    assert error.__cause__ is cause


# --- loaded models ------------------------------------------------------------------------------


def test_a_model_is_listed_until_its_last_network_is_let_go():
    registry.note_loaded("zz")
    registry.note_loaded("zz")
    assert "zz" in registry.list_models()
    registry.note_unloaded("zz")
    assert "zz" in registry.list_models()
    registry.note_unloaded("zz")
    assert "zz" not in registry.list_models()
    registry.note_unloaded("zz")
    assert "zz" not in registry.list_models()


def test_many_threads_may_note_at_once():
    def work():
        for _ in range(200):
            registry.note_loaded("zz")
            registry.note_unloaded("zz")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "zz" not in registry.list_models()


# --- patches ------------------------------------------------------------------------------------


def patch_of(steps=1, bands=("B4", "B3"), value=0.25, intervals=(), units="reflectance"):
    data = np.full((steps, len(bands), 4, 4), value, dtype=np.float32)
    return Patch(data, bands, (units,) * len(bands), GRID, intervals)


def test_chw_of_a_single_date():
    assert patch_of().chw.shape == (2, 4, 4)
    with pytest.raises(ValueError, match="a series of 3 dates"):
        _ = patch_of(3).chw


def test_units_differ_band_by_band():
    data = np.ones((1, 2, 2, 2), dtype=np.float32)
    data[:, 1] = 0.01
    found = in_units(data, ("reflectance", "linear"), (0, 1), ("reflectance_x10000", "db"))
    np.testing.assert_allclose(found[0, 0], 10_000)
    np.testing.assert_allclose(found[0, 1], -20, rtol=1e-6)
    assert in_units(data, ("a", "b"), (0, 1), ("a", "b")) is data
    np.testing.assert_array_equal(in_units(data, ("a", "b"), (1,), ("b",)), data[:, 1:])


def test_stacking_repeats_what_has_no_time():
    intervals = (("2022-06-01", "2022-07-01"), ("2022-07-01", "2022-08-01"))
    dated, static = patch_of(2, intervals=intervals), patch_of(1, ("dem",), 7.0, units="metres")
    both = stack_readers([dated.reader(), static.reader()]).patch()
    assert both.data.shape == (2, 3, 4, 4)
    assert both.bands == ("B4", "B3", "dem")
    assert both.units == ("reflectance", "reflectance", "metres")
    assert both.intervals == intervals
    np.testing.assert_array_equal(both.data[:, 2], 7)
    np.testing.assert_array_equal(
        stack_readers([dated.reader(), static.reader()]).open()(1, 2, 3, 1),
        both.data[..., 1:4, 2:3],
    )
    one = patch_of().reader()
    assert stack_readers([one]) is one


def test_tokens_with_a_pixel():
    pixels = np.ones((1, 2, 3, 8, 8), dtype=np.float32)
    whole = valid_tokens(pixels, 4)
    assert whole.tokens is None
    assert whole.missing == 0
    pixels[:, :, :, :4, :4] = np.nan
    pixels[0, 0, 0, 4:, 4:] = np.nan  # other bands and dates are there
    found = valid_tokens(pixels, 4)
    np.testing.assert_array_equal(found.tokens, [[[False, True], [True, True]]])
    assert found.missing == pytest.approx((6 * 16 + 16) / pixels.size)


def test_one_valid_value_is_found_wherever_it_is():
    data = np.full((2, 3, 200, 5), np.nan, dtype=np.float32)
    assert not any_valid(data)
    for row in (0, 63, 64, 199):
        data[1, 2, row, 4] = 0
        assert any_valid(data)
        data[1, 2, row, 4] = np.inf
        assert not any_valid(data)
        data[1, 2, row, 4] = np.nan
