from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from returns.result import Failure

from rs_embed.core.choice import parse_choice, resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import (
    InputSpec,
    ModelChoice,
    Option,
    Variant,
    WeightRecord,
)
from rs_embed.embedders.catalog import find_model
from tests.toys import toy

SPEC = toy(
    "toy",
    variants=(
        Variant("small", 8),
        Variant("large", 16, window_px=64, token_px=16),
    ),
    default_variant="small",
    modalities={
        "s2": (InputSpec("s2", ("B4", "B3"), "reflectance"),),
        "s1s2": (
            InputSpec("s2", ("B4", "B3"), "reflectance"),
            InputSpec("s1", ("VV",), "db"),
        ),
    },
    options=(
        Option("window_px", int, 32, "pixels a side of a window", minimum=8, sets="window_px"),
        Option("gain", float, 1.0, "what values are multiplied with", minimum=0, maximum=10),
        Option("norm", str, "own", "which statistics", choices=("own", "none")),
        Option("flag", bool, False, "a switch", builds=True),
    ),
)


def choose(**fields):
    return resolve(SPEC, ModelChoice("toy", **fields))


# --- how a model is named -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "id", "variant"),
    [
        ("galileo", "galileo", None),
        (" Galileo ", "galileo", None),
        ("GALILEO:Nano", "galileo", "nano"),
        ("galileo: nano ", "galileo", "nano"),
        ("galileo:", "galileo", None),
    ],
)
def test_an_id_with_or_without_variant(text, id, variant):
    choice = parse_choice(text).unwrap()
    assert (choice.id, choice.variant) == (id, variant)


@pytest.mark.parametrize("wrong", [None, 7, "", "  ", ("a", "b"), b"galileo"])
def test_what_names_no_model(wrong):
    error = parse_choice(wrong).failure()
    assert type(error) is ModelError
    assert "a model is an id, 'id:variant' or a ModelChoice" in str(error)


def test_a_choice_keeps_what_it_says():
    choice = ModelChoice("Galileo:nano", modality="s2", options={"a": 1}, weights="w", backend="x")
    parsed = parse_choice(choice).unwrap()
    assert parsed == ModelChoice("galileo", "nano", "s2", {"a": 1}, "w", "x")
    assert ModelChoice(" Galileo : NANO ") == ModelChoice("galileo", "Nano")
    assert ModelChoice("galileo:nano", "nano").variant == "nano"
    with pytest.raises(ModelError, match="names two variants"):
        ModelChoice("galileo:nano", variant="base")


def test_models_and_choices_travel_to_other_processes():
    options = {"seed": 3}
    choice = ModelChoice("mosaiks", options=options)
    for thing in (choice, find_model(choice).unwrap(), find_model("mosaiks").unwrap()):
        for other in (pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing)):
            assert other == thing
            assert hash(other) == hash(thing)
    with pytest.raises(TypeError, match="does not support item assignment"):
        choice.options["seed"] = 4


def test_choices_are_values():
    options = {"window_px": 16}
    a, b = ModelChoice("toy", options=options), ModelChoice("toy", options={"window_px": 16})
    options["window_px"] = 8
    assert a == b
    assert hash(a) == hash(b)
    assert a != ModelChoice("toy")
    assert pickle.loads(pickle.dumps(a)) == a
    assert len({a, b, ModelChoice("toy")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.id = "other"


# --- what is resolved ---------------------------------------------------------------------------


def test_defaults_are_filled_in():
    model = choose().unwrap()
    assert (model.id, model.variant.name, model.modality, model.dim) == ("toy", "small", "s2", 8)
    assert dict(model.options) == {"window_px": 32, "gain": 1.0, "norm": "own", "flag": False}
    assert (model.window_px, model.token_px, model.scale_m) == (32, 8, 10)
    assert (model.bands, model.units) == (("B4", "B3"), ("reflectance",) * 2)


def test_every_input_of_a_modality_counts():
    model = choose(modality="s1s2").unwrap()
    assert model.bands == ("B4", "B3", "VV")
    assert model.units == ("reflectance", "reflectance", "db")


def test_options_set_fields():
    assert choose(options={"window_px": 16}).unwrap().window_px == 16


def test_an_option_sets_the_pixel_size_that_the_model_sees():
    finer = Option("scale_m", float, 10.0, "metres a pixel", minimum=0.1, sets="scale_m")
    spec = dataclasses.replace(SPEC, options=(*SPEC.options, finer))
    assert resolve(spec, ModelChoice("toy")).unwrap().scale_m == 10
    half = resolve(spec, ModelChoice("toy", options={"scale_m": 0.5})).unwrap()
    assert (half.scale_m, half.options["scale_m"], half.window_px) == (0.5, 0.5, 32)


def test_a_sensor_can_have_pixels_of_its_own_size():
    """The caller's size counts first, then the sensor's, then the family's."""
    modalities = {
        "s2": (InputSpec("s2", ("B4",), "reflectance"),),
        "aerial": (InputSpec("aerial", ("red",), "uint8", scale_m=0.5),),
    }
    option = Option("scale_m", float, None, "metres a pixel", minimum=0.1, sets="scale_m")
    spec = dataclasses.replace(SPEC, modalities=modalities, options=(option,))
    given = {"options": {"scale_m": 0.6}}
    scales = [
        resolve(spec, ModelChoice("toy", modality=modality, **more)).unwrap().scale_m
        for modality, more in [("s2", {}), ("aerial", {}), ("aerial", given), ("s2", given)]
    ]
    assert scales == [SPEC.scale_m, 0.5, 0.6, 0.6]


def test_an_option_may_give_more_features():
    both = Option("both", str, "one", "which", choices=("one", "two"), widens=(("two", 2),))
    spec = dataclasses.replace(SPEC, options=(*SPEC.options, both))
    assert resolve(spec, ModelChoice("toy")).unwrap().dim == 8
    assert resolve(spec, ModelChoice("toy", options={"both": "two"})).unwrap().dim == 16


def test_an_image_is_larger_than_the_window_where_the_authors_crop_it():
    prepare = Option("prepare", str, "native", "how", choices=("native", "official"))
    spec = dataclasses.replace(SPEC, options=(*SPEC.options, prepare), official_crop=0.875)
    assert resolve(spec, ModelChoice("toy")).unwrap().image_px == 32
    official = resolve(spec, ModelChoice("toy", options={"prepare": "official"})).unwrap()
    assert official.image_px == 36


def test_a_variants_own_sizes_hold_unless_the_caller_says():
    model = choose(variant="large").unwrap()
    assert (model.window_px, model.token_px) == (64, 16)
    assert model.options["window_px"] == 64
    wider = choose(variant="large", options={"window_px": 128}).unwrap()
    assert (wider.window_px, wider.options["window_px"]) == (128, 128)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"variant": "huge"}, "toy has no variant 'huge'; choose from small, large"),
        ({"modality": "s3"}, "toy has no modality 's3'; choose from s2, s1s2"),
        ({"options": {"colour": 1}}, "toy has no option 'colour'. Its options: window_px (pixels"),
        ({"options": {"gain": "2"}}, "gain takes float, not '2': what values are multiplied with"),
        ({"options": {"gain": 11}}, "gain must be 0..10, not 11"),
        ({"options": {"gain": True}}, "gain takes float, not True"),
        ({"options": {"norm": "theirs"}}, "norm must be one of 'own', 'none', not 'theirs'"),
        ({"options": {"flag": 1}}, "flag takes bool, not 1"),
        ({"options": {"window_px": 16.0}}, "window_px takes int, not 16.0"),
        ({"options": {"window_px": 4}}, "window_px must be 8..inf, not 4"),
        ({"options": {"window_px": 20}}, "window_px 20 must be a multiple of the 8 px"),
    ],
)
def test_what_cannot_be_chosen(fields, words):
    outcome = choose(**fields)
    assert isinstance(outcome, Failure)
    assert type(outcome.failure()) is ModelError
    assert words in str(outcome.failure())


def test_a_whole_number_is_a_float_too():
    assert choose(options={"gain": 2}).unwrap().options["gain"] == 2


def test_options_cannot_be_changed_afterwards():
    with pytest.raises(TypeError):
        choose().unwrap().options["gain"] = 3


def test_a_network_is_told_from_another_by_what_builds_it():
    key = choose().unwrap().network_key
    assert choose(options={"gain": 2}).unwrap().network_key == key
    assert choose(options={"window_px": 16}).unwrap().network_key == key
    assert choose(options={"flag": True}).unwrap().network_key != key
    assert choose(variant="large").unwrap().network_key != key
    assert choose(weights="w.pt").unwrap().network_key != key


def test_models_and_specs_hash():
    assert hash(choose().unwrap()) == hash(choose().unwrap())
    assert len({SPEC, SPEC}) == 1


def test_weights_are_pinned_by_revision_or_hash():
    assert not WeightRecord("w.pt", repo="a/b").pinned
    assert WeightRecord("w.pt", repo="a/b", revision="0" * 40).pinned
    assert WeightRecord("w.pt", url="https://example.org/w.pt", sha256="0" * 64).pinned


def test_a_model_and_its_choice_are_pickled():
    import pickle

    from rs_embed.core.model import ModelChoice
    from rs_embed.embedders.catalog import MODEL_SPECS, find_model

    for name in MODEL_SPECS:
        model = find_model(name).unwrap()
        again = pickle.loads(pickle.dumps(model))
        assert again == model
        assert dict(again.options) == dict(model.options)
        with pytest.raises(TypeError):
            again.options["other"] = 1
    choice = ModelChoice("mosaiks", options={"seed": 3})
    assert pickle.loads(pickle.dumps(choice)) == choice
