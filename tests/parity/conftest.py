"""Every fixture there is, as one test each, and how close each came, in the summary."""

from __future__ import annotations

from pathlib import Path

import pytest
from returns.result import Success

from rs_embed.embedders.catalog import find_spec
from rs_embed.parity import Case, Comparison, read_case

KEPT = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[3] / "shared"
FULL_SIZE = 150_000_000

_RESULTS: dict[str, tuple[Comparison, ...]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-dir", default=None, help="run the parity fixtures of this folder")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "parity_case" not in metafunc.fixturenames:
        return
    # The option is not there where pytest was started on a folder above this one.
    asked = metafunc.config.getoption("--parity-dir", default=None)
    folders = [Path(asked)] if asked else [KEPT, SHARED / "parity"]
    cases = [case for folder in folders for case in known_cases(folder)]
    # A kept fixture that is a copy of a shared one is run once.
    cases = list({case.path.read_bytes(): case for case in reversed(cases)}.values())[::-1]
    if not cases:
        raise pytest.UsageError(f"no fixture of a model of the catalogue in {folders}")
    metafunc.parametrize("parity_case", [_param(case) for case in cases])


@pytest.fixture
def record_comparisons(request: pytest.FixtureRequest):
    """Keep what a test compared for the summary."""

    def record(comparisons: tuple[Comparison, ...]) -> None:
        _RESULTS[request.node.callspec.id] = comparisons

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _RESULTS:
        return
    terminalreporter.section("parity: largest difference, share of the tolerance")
    for name, comparisons in _RESULTS.items():
        worst = max(comparisons, key=lambda one: one.share)
        largest = max(one.difference for one in comparisons)
        terminalreporter.line(f"{largest:9.2e} {worst.share:7.1%}  {name} ({worst.name})")


def known_cases(folder: Path) -> list[Case]:
    """The fixtures of a folder whose model the catalogue has."""
    cases = [read_case(path) for path in sorted(folder.glob("*.json"))]
    return [case for case in cases if isinstance(find_spec(case.model_id), Success)]


def _param(case: Case) -> object:
    kept = case.path.parent == KEPT
    marks = [pytest.mark.full] if case.params > FULL_SIZE else []
    return pytest.param(case, id=f"kept/{case.name}" if kept else case.name, marks=marks)
