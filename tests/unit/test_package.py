# SPDX-License-Identifier: BSD-3-Clause
"""The package as a whole: its public names, and what their import brings along."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
from reference.problems import Problem

import hybridtrain as ht

FOLDER = Path(ht.__file__).parent
LATE = {"scipy", "tqdm", "sklearn", "pandas", "matplotlib", "concurrent.futures.process"}


def _printed(code: str) -> list[str]:
    """Return the words that a fresh interpreter prints, which finds this package first."""
    found = f"import sys; sys.path.insert(0, {str(FOLDER.parent)!r})"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{found}; {code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


def _imported(code: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after some code."""
    return set(_printed(f"{code}; print(*sys.modules)"))


def test_the_import_brings_in_no_more_than_that_of_numpy() -> None:
    more = _imported("import hybridtrain") - _imported("import numpy")
    assert more <= {"hybridtrain", "hybridtrain.quiet", "signal"}


def test_using_the_public_names_brings_in_nothing_that_is_not_needed_yet() -> None:
    modules = _imported("from hybridtrain import *")
    assert not modules & LATE
    assert {"numpy", "hybridtrain.training", "hybridtrain.comparison.compare"} <= modules


def test_the_tests_run_on_the_installed_package() -> None:
    assert "site-packages" in ht.__file__


@pytest.mark.parametrize("name", ht.__all__)
def test_an_exported_name_says_where_it_comes_from(name: str) -> None:
    exported = getattr(ht, name)
    for part in get_args(exported) or [exported]:  # of a union
        assert getattr(part, "__module__", part.__name__).startswith("hybridtrain")


def _public(names: list[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("__"))


def test_the_package_shows_its_public_names_alone() -> None:
    every = [module.name for module in pkgutil.walk_packages([str(FOLDER)], "hybridtrain.")]
    for name in every:
        if name != "hybridtrain.__main__":
            importlib.import_module(name)
    assert _public(dir(ht)) == sorted(ht.__all__)
    assert "__version__" in dir(ht)
    assert sorted(_printed("import hybridtrain; print(*dir(hybridtrain))")) == sorted(dir(ht))


def test_no_module_hides_a_function_of_its_name() -> None:
    code = (
        "import hybridtrain.training, hybridtrain.comparison.compare, hybridtrain.cli.train; "
        "import hybridtrain as ht, hybridtrain.datasets.flights; "
        "print(*(type(each).__name__ for each in (ht.train, ht.compare, ht.datasets.flights)))"
    )
    assert _printed(code) == ["function"] * 3


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hybridtrain' has no attribute 'trian'"):
        ht.trian  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_read_the_names_that_are_there() -> None:
    stubs = ast.parse((FOLDER / "__init__.pyi").read_text())
    names = {
        alias.asname: getattr(importlib.import_module(statement.module or ""), alias.name)
        for statement in stubs.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert names == {name: getattr(ht, name) for name in ht.__all__}


def test_what_callbacks_and_results_hold_is_public(problem: Problem) -> None:
    records: list[ht.EpochRecord] = []
    data = (problem.X, problem.labels)
    result = ht.train(ht.Linear(), data, epochs=1, workers=1, callbacks=[records.append])
    assert tuple(records) == result.history
    assert isinstance(records[0], ht.EpochRecord)
    assert isinstance(result.ledger[0], ht.LedgerRecord)
    assert isinstance(result.staleness, ht.Staleness)
    assert isinstance(result.workers[0], ht.WorkerReport)


def test_the_version_is_that_of_the_distribution() -> None:
    assert ht.__version__ == version("hybridtrain")
