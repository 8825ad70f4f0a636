"""An invalid spec is a Failure(SpecError), a valid one itself; validate() raises exactly then."""

from __future__ import annotations

import pytest
from hypothesis import given
from returns.result import Failure

from rs_embed.core import specs
from rs_embed.core.errors import SpecError
from rs_embed.core.specs import BBox, PointBuffer, SensorSpec, TemporalSpec
from tests.strategies import broken, valid_specs


def check(spec):
    if isinstance(spec, BBox | PointBuffer):
        return specs.check_spatial(spec)
    if isinstance(spec, TemporalSpec):
        return specs.check_temporal(spec)
    return specs.check_sensor(spec) if isinstance(spec, SensorSpec) else specs.check_output(spec)


@given(valid_specs)
def test_a_valid_spec_passes_as_itself(spec):
    assert check(spec).unwrap() is spec
    spec.validate()


@given(broken())
def test_validate_raises_exactly_when_the_check_fails(spec):
    outcome = check(spec)
    if not isinstance(outcome, Failure):
        assert outcome.unwrap() is spec
        spec.validate()
        return
    error = outcome.failure()
    assert type(error) is SpecError
    with pytest.raises(SpecError) as raised:
        spec.validate()
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
