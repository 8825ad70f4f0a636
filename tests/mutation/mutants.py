"""Single changes of a family's source that no one may make unseen.

``<module>.toml`` beside this file lists them: ``what``, ``old`` and ``new`` text, ``file`` where
it is not the family's own. A mutant runs in the place of the family until the first of its cases
fails: what the authors publish of its variants, the small fixtures, the raw cases.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from rs_embed.core.errors import RsEmbedError
from rs_embed.embedders import catalog, families, runtime
from rs_embed.parity import Case, compare, read_case
from tests.parity.facts import check_facts
from tests.parity.raw_cases import RAW, compare_raw, variant_of

HERE = Path(__file__).parent
KEPT = HERE.parent / "parity" / "data"
NOTICED = (RsEmbedError, AssertionError, RuntimeError, ValueError)
"""What a case may end in: refused, another fact, shapes that do not fit."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    family: str
    what: str
    old: str
    new: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.family}: {self.what}"


def mutants() -> list[Mutant]:
    found = []
    for path in sorted(HERE.glob("*.toml")):
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
        found += [Mutant(path.stem, **row) for row in rows]
    return found


@contextmanager
def in_place(mutant: Mutant) -> Iterator[list[str]]:
    """The catalogue and the modules with the mutant in them; gives the ids of the family."""
    own = f"{families.__name__}.{mutant.family}"
    changed = f"rs_embed.{mutant.file}" if mutant.file else own
    kept = {name: importlib.import_module(name) for name in (changed, own)}
    specs = {spec.id: spec for spec in catalog.specs_of(mutant.family)}
    try:
        _replace(changed, lambda text: _changed(text, mutant))
        if changed != own:
            _replace(own, lambda text: text)
        catalog._REGISTERED |= {spec.id: spec for spec in catalog.specs_of(mutant.family)}
        yield list(specs)
    finally:
        for name, module in kept.items():
            _put(name, module)
        catalog._REGISTERED |= specs
        runtime.unload_models()


def _changed(text: str, mutant: Mutant) -> str:
    assert text.count(mutant.old) == 1, f"{mutant}: {mutant.old!r} stands {text.count(mutant.old)}x"
    return text.replace(mutant.old, mutant.new)


def _replace(name: str, change) -> None:
    old = sys.modules[name]
    module = ModuleType(name)
    module.__file__ = old.__file__
    _put(name, module)
    source = change(Path(old.__file__).read_text(encoding="utf-8"))
    exec(compile(source, old.__file__, "exec"), module.__dict__)


def _put(name: str, module: ModuleType) -> None:
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    setattr(sys.modules[parent], last, module)


def first_to_notice(model_ids: list[str], folder: Path) -> str | None:
    """The first check of a family's models that does not hold; None where all do."""
    found = (_first_of_model(model_id, folder) for model_id in model_ids)
    return next((name for name in found if name), None)


def _first_of_model(model_id: str, folder: Path) -> str | None:
    tiny = [read_case(path) for path in KEPT.glob("*.json")]
    raw = [read_case(path) for path in sorted(RAW.glob("*.json"))]
    own = sorted((case for case in tiny if case.model_id == model_id), key=lambda c: c.params)
    raw = sorted((case for case in raw if case.model_id == model_id), key=lambda c: c.params)
    assert own or raw, f"{model_id} has neither fixtures nor raw cases here"
    checks = [("facts", lambda: check_facts(raw[0]))] if raw else []
    spec = catalog.MODEL_SPECS[model_id]
    checks += [(f"{case.name}, config", lambda case=case: variant_of(case, spec)) for case in raw]
    checks += [(case.name, lambda case=case: _agrees(case, compare(case.path))) for case in own]
    checks += [
        (case.name, lambda case=case: _agrees(case, compare_raw(case, folder))) for case in raw
    ]
    for name, check in checks:
        try:
            check()
        except NOTICED as error:
            return f"{name}: {str(error)[:100]}"
    return None


def _agrees(case: Case, comparisons) -> None:
    failed = [one.name for one in comparisons if not one.passed]
    assert not failed, f"{case.name} differs in {', '.join(failed)}"
