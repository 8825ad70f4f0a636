"""What an export decides: any needs, names, models and places."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.model import ModelChoice
from rs_embed.core.patch import Patch
from rs_embed.core.specs import OutputSpec, PointBuffer, SensorSpec, TemporalSpec
from rs_embed.embedders.catalog import find_model
from rs_embed.pipeline import export_plan, export_request
from rs_embed.pipeline.export_plan import Need, shards, share_fetches, taken
from rs_embed.providers.memory import MemoryProvider
from tests import strategies

BANDS = ("B2", "B3", "B4", "B8", "B11")
BINS = (("2022-01-01", "2022-02-01"), ("2022-02-01", "2022-03-01"), ("2022-03-01", "2022-04-01"))


@st.composite
def needs(draw):
    """A few needs over few grids, bands, dates and units, so that many can be shared."""
    grid = draw(strategies.grids(8))
    made = []
    for _ in range(draw(st.integers(1, 6))):
        bands = tuple(draw(st.lists(st.sampled_from(BANDS), min_size=1, unique=True)))
        bins = draw(st.sampled_from(((), BINS[:1], BINS[1:2], BINS[:2], BINS)))
        unit = draw(st.sampled_from(("reflectance", "reflectance_x10000")))
        sensor = SensorSpec("C", bands, check_input=draw(st.booleans()))
        place = draw(st.sampled_from((grid, grid.window(1, 1, 4, 4))))
        plan = strategies.FetchPlan(
            "C", bands, tuple(unit for _ in bands), place, bins, sensor, "memory:0"
        )
        made.append(Need(draw(st.sampled_from("ab")), plan))
    return made


@given(needs())
def test_each_need_is_found_in_its_fetch_to_the_bit(asked):
    fetches, shares = share_fetches(asked).unwrap()
    source = MemoryProvider()
    whole = [source.fetch(one.plan).unwrap() for one in fetches]
    for need, share in zip(asked, shares, strict=True):
        assert fetches[share.index].source == need.source
        part = taken(whole[share.index].reader(), need.plan, share).patch()
        alone = source.fetch(need.plan).unwrap()
        np.testing.assert_array_equal(part.data, alone.data)
        assert (part.bands, part.units, part.grid, part.intervals) == (
            alone.bands, alone.units, alone.grid, alone.intervals,
        )  # fmt: skip


@given(needs())
def test_nothing_is_fetched_twice_and_nothing_unasked(asked):
    fetches, shares = share_fetches(asked).unwrap()
    assert len(fetches) <= len({(n.source, n.plan.fingerprint) for n in asked})
    assert {share.index for share in shares} == set(range(len(fetches)))
    wanted = {
        (n.source, n.plan.grid, band, unit, time)
        for n in asked
        for band, unit in zip(n.plan.bands, n.plan.units, strict=True)
        for time in n.plan.intervals or (None,)
    }
    for one in fetches:
        for band, unit in zip(one.plan.bands, one.plan.units, strict=True):
            for time in one.plan.intervals or (None,):
                assert (one.source, one.plan.grid, band, unit, time) in wanted


@given(needs())
def test_asking_twice_fetches_no_more(asked):
    once, _ = share_fetches(asked).unwrap()
    twice, shares = share_fetches([*asked, *asked]).unwrap()
    assert len(once) == len(twice)
    assert shares[: len(asked)] == shares[len(asked) :]


def test_a_subset_of_bands_shares_the_union():
    grid = strategies.Grid("EPSG:32631", strategies.Affine(10, 0, 0, 0, -10, 0), (4, 4))

    def need(*bands, times=BINS[:1]):
        plan = strategies.FetchPlan(
            "C", bands, tuple("reflectance" for _ in bands), grid, times, SensorSpec("C", bands)
        )
        return Need("a", plan)

    fetches, shares = share_fetches([need("B4", "B3", "B2"), need("B2", "B8")]).unwrap()
    assert [one.plan.bands for one in fetches] == [("B4", "B3", "B2", "B8")]
    assert fetches[0].plan.sensor.bands == ("B4", "B3", "B2", "B8")
    assert [share.bands for share in shares] == [(0, 1, 2), (2, 3)]
    # A bin that a series has is read from it.
    fetches, shares = share_fetches([need("B2", times=BINS[1:2]), need("B2", times=BINS)]).unwrap()
    assert [one.plan.intervals for one in fetches] == [BINS]
    assert shares[0].times == (1,)


def test_a_part_is_a_copy_only_where_it_must_be():
    grid = strategies.Grid("EPSG:32631", strategies.Affine(10, 0, 0, 0, -10, 0), (2, 2))
    patch = Patch(np.zeros((1, 2, 2, 2), np.float32), ("a", "b"), ("db", "db"), grid)
    plan = strategies.FetchPlan("C", ("a", "b"), ("db", "db"), grid, (), SensorSpec("C", ("a",)))
    reader = patch.reader()
    assert taken(reader, plan, export_plan.Share(0, (), (0, 1))) is reader


# Names


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_names_are_taken_as_they_are_or_refused(names):
    found = export_request.file_names(names, len(names), "npz")
    if isinstance(found, Failure):
        assert isinstance(found.failure(), SpecError)
        return
    made = found.unwrap()
    assert len({unicodedata.normalize("NFC", name).casefold() for name in made}) == len(names)
    for given_, name in zip(names, made, strict=True):
        assert given_ in (name, f"{name}{given_[len(name) :]}")
        assert not set(name) & set('/\\:*?"<>|\0')
        assert name not in ("", ".", "..")
        assert not name.startswith(".")


@given(st.integers(1, 200_000))
def test_default_names_sort_as_their_places(count):
    last = export_request.file_names(None, count, "npz").unwrap()[-1]
    assert last == f"p{count - 1:05d}"


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", ".hidden", "a\\b", "CON", "nul.txt", "com1", " a", "a.", "", "a\n", "x" * 201,
     None, 3, "a:b", "\ud800"],
)  # fmt: skip
def test_unsafe_names_are_refused(name):
    with pytest.raises(SpecError, match=r"names\[1\]"):
        raise export_request.file_names(["fine", name], 2, "npz").failure()


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a", "A"], "same file"),
        (["a", "a.npz"], "same file"),
        (["é", "e\u0301"], "same file"),
        (["a"], "1 entries for 2 places"),
        ("ab", "must be a list"),
    ],
)
def test_names_that_meet_are_refused(names, match):
    with pytest.raises(SpecError, match=match):
        raise export_request.file_names(names, 2, "npz").failure()


# Labels


@st.composite
def model_lists(draw):
    one = st.one_of(
        st.sampled_from(["mosaiks", "mosaiks:512", "mosaiks:1024", "MOSAIKS", " mosaiks"]),
        st.builds(
            ModelChoice,
            st.just("mosaiks"),
            variant=st.sampled_from([None, "512", "1024"]),
            options=st.sampled_from([{}, {"seed": 1}, {"seed": 2}, {"window_px": 32}]),
            backend=st.sampled_from([None, "memory"]),
        ),
    )
    return draw(st.lists(one, min_size=1, max_size=5))


@given(model_lists())
def test_labels_tell_models_apart(models):
    keys = [export_request.model_key(find_model(one).unwrap()) for one in models]
    found = export_request.labels(models)
    assert isinstance(found, Success) == (len(set(keys)) == len(keys))
    if isinstance(found, Failure):
        assert "given twice" in str(found.failure())
        return
    made = found.unwrap()
    assert len(set(made)) == len(models)
    for given_, label in zip(models, made, strict=True):
        assert not isinstance(given_, str) or label == given_ or "#" in label
    # One more at the end renames none.
    assert export_request.labels(models[:-1] or models).unwrap() == made[: len(models[:-1] or made)]


# Fingerprints


def model_print(model="mosaiks", **changed):
    chosen = find_model(model).unwrap()
    source = MemoryProvider().describe(chosen.inputs[0], None).unwrap()
    given_ = {
        "backend": "memory", "weights": "none", "sensor": None,
        "temporal": TemporalSpec.year(2022), "output": OutputSpec.pooled(),
        "input_prep": "native", "overlap": 0, "dtype": "float32",
    }  # fmt: skip
    return export_plan.model_fingerprint(chosen, [source], **{**given_, **changed})


def test_all_that_decides_numbers_is_in_the_fingerprint():
    sensor = SensorSpec("C", ("B2",))
    prints = [
        model_print(),
        model_print("mosaiks:1024"),
        model_print(ModelChoice("mosaiks", options={"seed": 7})),
        model_print(backend="gee"),
        model_print(weights="other"),
        model_print(sensor=sensor),
        model_print(sensor=replace(sensor, fill_value=1.0)),
        model_print(sensor=replace(sensor, fill_value=float("nan"))),
        model_print(sensor=replace(sensor, composite="mosaic")),
        model_print(temporal=TemporalSpec.year(2021)),
        model_print(output=OutputSpec.pooled("max")),
        model_print(output=OutputSpec.grid()),
        model_print(output=OutputSpec.grid(scale_m=20)),
        model_print(input_prep="resize"),
        model_print(overlap=2),
        model_print(dtype="int8"),
    ]
    assert len(set(prints)) == len(prints)


def test_what_decides_no_number_is_not():
    sensor = SensorSpec("C", ("B2",))
    assert model_print(sensor=sensor) == model_print(
        sensor=replace(sensor, check_input=True, check_raise=False, check_save_dir="there")
    )
    year = TemporalSpec.range("2022-01-01", "2023-01-01")
    assert model_print(temporal=year) == model_print()
    assert model_print("mosaiks:512") == model_print()


@given(strategies.spatials, strategies.spatials)
def test_places_have_fingerprints_of_their_own(one, other):
    assume(export_plan.place_json(one) != export_plan.place_json(other))
    assert export_plan.item_fingerprint("m", one) != export_plan.item_fingerprint("m", other)
    assert export_plan.item_fingerprint("m", one) != export_plan.item_fingerprint("n", one)


def test_a_fingerprint_is_the_same_in_every_process():
    assert export_plan.item_fingerprint("m", PointBuffer(5, 52, 640)) == (
        export_plan.item_fingerprint("m", PointBuffer(5.0, 52.0, 640.0))
    )
    found = export_plan.item_fingerprint("m", PointBuffer(5, 52, 640))
    assert found == "ac232b8b2f964657b9bbf6cd77322e7b0ed934f94ebabb81f3f368506bbabbef"


# Resuming and shards


@given(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("0123"), min_size=1),
    st.lists(st.tuples(st.sampled_from("0123"), st.booleans(), st.booleans())),
    st.booleans(),
)
def test_only_whole_rows_of_the_same_fingerprint_are_kept(wanted, held, inputs):
    rows = [
        {"label": f"old{i}", "fingerprint": key, "status": "ok" if good else "failed",
         "embedding": {"x": 1}, "input": {"y": 1} if has_input else {}}
        for i, (key, good, has_input) in enumerate(held)
    ]  # fmt: skip
    kinds = ["embedding", "input"] if inputs else ["embedding"]
    kept = export_plan.reusable(rows, wanted, kinds).unwrap()
    for label, key in wanted.items():
        good = [r for r in rows if r["fingerprint"] == key and r["status"] == "ok"]
        good = [r for r in good if r["input"] or not inputs]
        assert (label in kept) == bool(good)
        assert not good or kept[label] in good


@given(st.lists(strategies.points, min_size=1, max_size=40), st.integers(1, 12))
def test_shards_hold_every_place_once(places, size):
    doubled = [*places, *places[:5]]
    parts = shards(doubled, size).unwrap()
    assert sorted(i for part in parts for i in part) == list(range(len(doubled)))
    home = {i: n for n, part in enumerate(parts) for i in part}
    for i, one in enumerate(doubled):
        assert home[i] == home[doubled.index(one)]
    for part in parts:
        assert len(part) <= size or len({doubled[i] for i in part}) == 1


@pytest.mark.parametrize("size", [0, -1, True, 2.5, "4"])
def test_a_size_that_is_none_is_refused(size):
    assert isinstance(shards([PointBuffer(0, 0, 10)], size).failure(), SpecError)
