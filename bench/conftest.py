"""Collect the figures of a session and print them at its end."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import pytest

import hybridtrain  # noqa: F401 - before pytest puts the sources first on the path again
from bench import report
from bench.data import TINY
from bench.harness import Figures

_LINES = pytest.StashKey[list[dict[str, object]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --figures FILE."""
    parser.addoption(
        "--figures",
        type=Path,
        help="file to append the figures to, for python -m bench.report (default: none)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start without figures."""
    config.stash[_LINES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a benchmark take its time, half an hour at most, and let peers warn.

    As an error a warning changes what they do: Snap ML goes on without AVX2.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1800))
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Return where a benchmark writes its figures."""
    question = request.module.__doc__.strip().splitlines()[0]
    collected = Figures(request.path.stem, question, request.config.getoption("--figures"))
    yield collected
    request.config.stash[_LINES] += collected.lines
    if TINY and not request.session.testsfailed:
        answers = [line["median"] for line in collected.lines if line["kind"] == "answer"]
        assert answers, "a benchmark did not produce its figures"
        assert all(map(isfinite, answers)), f"figures that are not finite: {answers}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the tables."""
    if config.stash[_LINES]:
        terminalreporter.section("figures")
        terminalreporter.write_line(report.markdown(config.stash[_LINES]))
