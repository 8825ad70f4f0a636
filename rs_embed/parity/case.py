"""A fixture: what the official implementation of a model gave, and how to ask ours the same."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.parity import recipe

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Tolerance:
    """How far a value may be from the official one: ``atol + rtol * |official|``."""

    rtol: float = 2e-5
    atol: float = 4e-5
    dtype: str = "float32"


@dataclass(frozen=True)
class Case:
    """One fixture file.

    Parameters
    ----------
    path : Path
    data : mapping
        The parsed JSON.
    weights_root : Path or None
        Where ``real_weights`` are; None looks in the folder ``weights`` beside the fixture's own,
        then in ``shared/weights`` beside the checkout.
    """

    path: Path
    data: Mapping[str, Any]
    weights_root: Path | None = None

    @property
    def name(self) -> str:
        """File name without its suffix."""
        return self.path.stem

    @property
    def model_id(self) -> str:
        """The catalogue's id of the model."""
        return str(self.data["model"])

    @property
    def config(self) -> Mapping[str, Any]:
        """The fixture's hyperparameters, in the authors' words."""
        found: Mapping[str, Any] = self.data.get("config", {})
        return found

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """What the official implementation gave, by name: shape, mean, std, stride, values."""
        found: Mapping[str, Mapping[str, Any]] = self.data["outputs"]
        return found

    @cached_property
    def tolerance(self) -> Tolerance:
        """The fixture's own, or the default."""
        return Tolerance(**self.data.get("tolerance", {}))

    @property
    def params(self) -> int:
        """Numbers in the weights, to tell a full-size case."""
        return sum(math.prod(shape) for _, shape, _ in self.data.get("weights", []))

    def inputs(self) -> dict[str, np.ndarray]:
        """The inputs by name: float32 from the recipe, float64 where values are given outright."""
        return {item["name"]: _input(item) for item in self.data["inputs"]}

    def real_weights(self) -> Path | None:
        """The file of published weights that the case is about; None where the recipe fills them.

        Raises
        ------
        ModelError
            Where it is not there.
        """
        wanted = self.data.get("real_weights")
        if wanted is None:
            return None
        roots = [self.weights_root] if self.weights_root else self._usual_roots()
        for root in roots:
            if (file := root / str(wanted)).is_file():
                return file
        raise ModelError(
            f"{self.name} needs the published weights {wanted}, which are not in "
            f"{' or '.join(str(root) for root in roots)}; pass weights_root="
        )

    def _usual_roots(self) -> list[Path]:
        checkout = Path(__file__).resolve().parents[2]
        return [self.path.resolve().parents[1] / "weights", checkout.parent / "shared" / "weights"]


def read_case(path: str | Path, *, weights_root: str | Path | None = None) -> Case:
    """The fixture of a file.

    Raises
    ------
    ModelError
        Where the file is not a fixture.
    """
    place = Path(path)
    try:
        data = json.loads(place.read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{place} is no parity fixture: {error}") from error
    missing = {"model", "inputs", "outputs"} - set(data if isinstance(data, dict) else ())
    if missing:
        raise ModelError(f"{place} is no parity fixture: it has no {', '.join(sorted(missing))}")
    return Case(place, data, None if weights_root is None else Path(weights_root))


def _input(item: Mapping[str, Any]) -> np.ndarray:
    shape = tuple(item["shape"])
    if "values" in item:
        values = [np.nan if value is None else value for value in item["values"]]
        return np.array(values, dtype=np.float64).reshape(shape)
    return recipe.array(item.get("seed", item["name"]), shape, item["low"], item["high"])
