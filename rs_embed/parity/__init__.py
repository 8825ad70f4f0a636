"""Proof by numbers: this implementation against the official one, fixture by fixture.

A fixture is a JSON file that holds what the official implementation gave on weights and inputs that
anyone can rebuild from names (`rs_embed.parity.recipe`). `run` puts the same through the product's
own network, checkpoint filter and prepare step; `compare` says how close the two are.

Its fields: ``model`` and ``variant``; ``config``, the hyperparameters in the authors' words;
``weights``, a list of ``[key, shape, dtype]`` in the published naming; ``checkpoint`` in words,
where ``ignored`` lists entries of the file that the encoder does not read; ``real_weights`` where
a real file is meant instead, below the folder ``weights``; ``inputs``, each ``{name, shape, low,
high}`` (and ``seed``, the recipe's name of it where it differs) or ``{name, shape, values}`` with
null for NaN; ``outputs``, by name ``{shape, mean, std, stride, values}`` with every ``stride``-th
value of the flat array; ``tolerance`` where it is not the default; ``source`` and ``notes``.

One runner serves every family (`rs_embed.parity.runner`): it takes the product's own variant,
refuses a fixture whose config differs from it, and reads what differs only in words from the
family's rows (`rs_embed.parity.rows`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import find_spec
from rs_embed.parity.case import Case, Tolerance, read_case
from rs_embed.parity.checkpoint import write_checkpoint
from rs_embed.parity.compare import Comparison, compare_outputs
from rs_embed.parity.rows import DATA, rows_of
from rs_embed.parity.runner import run_rows

__all__ = [
    "DATA",
    "Case",
    "Comparison",
    "Tolerance",
    "compare",
    "fixtures_of",
    "read_case",
    "run",
    "run_case",
    "write_checkpoint",
]


def run(
    fixture_path: str | Path, *, weights_root: str | Path | None = None
) -> dict[str, np.ndarray]:
    """What this implementation gives on a fixture.

    Parameters
    ----------
    fixture_path : path
        A JSON file.
    weights_root : path, optional
        Folder of published weights, for the fixtures that need them; by default the folder
        ``weights`` beside the fixture's.

    Returns
    -------
    dict of ndarray
        By the fixture's names of its outputs.

    Raises
    ------
    ModelError
        Where the model is not in the catalogue, its weights do not fit, or the case cannot be run.
    """
    return run_case(read_case(fixture_path, weights_root=weights_root))


def compare(
    fixture_path: str | Path, *, weights_root: str | Path | None = None
) -> tuple[Comparison, ...]:
    """How close this implementation comes to each output of a fixture.

    Raises
    ------
    ModelError
        As `run`; a wrong number is no error but a `Comparison` that has not passed.
    """
    case = read_case(fixture_path, weights_root=weights_root)
    return compare_outputs(case, run_case(case))


def fixtures_of(model_id: str, folder: str | Path) -> list[Path]:
    """The fixtures of one model in a folder, by name."""
    found = sorted(Path(folder).glob("*.json"))
    return [path for path in found if json.loads(path.read_text()).get("model") == model_id]


def run_case(case: Case) -> dict[str, np.ndarray]:
    """`run` for a fixture that has been read."""
    spec = unwrap_or_raise(find_spec(case.model_id))
    return run_rows(case, spec, rows_of(spec.id, case.path.parent))
