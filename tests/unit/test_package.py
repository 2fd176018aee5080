# SPDX-License-Identifier: BSD-3-Clause
"""The package as a whole: its public names, what their import brings along, what it holds."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import shutil
import subprocess
import sys
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from reference.problems import Problem

import hybridtrain as ht
from hybridtrain._core import check

FOLDER = Path(ht.__file__).parent
LATE = {
    "scipy",
    "tqdm",
    "sklearn",
    "pandas",
    "matplotlib",
    "zmq",
    "dask",
    "ray",
    "concurrent.futures.process",
}


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
    assert more <= {
        "hybridtrain",
        "hybridtrain.quiet",
        "hybridtrain.version",
        "signal",
        "__future__",
    }


def test_using_the_public_names_brings_in_nothing_that_is_not_needed_yet() -> None:
    modules = _imported("from hybridtrain import *")
    assert not modules & LATE
    assert {"numpy", "hybridtrain.training", "hybridtrain.comparison.compare"} <= modules


def test_the_tests_run_on_the_installed_package() -> None:
    origin = json.loads(distribution("hybridtrain").read_text("direct_url.json") or "{}")
    is_editable = origin.get("dir_info", {}).get("editable", False)
    place = origin["url"].removeprefix("file://") if is_editable else "site-packages"
    assert place in ht.__file__


@pytest.mark.parametrize("name", ht.__all__)
def test_an_exported_name_says_where_it_comes_from(name: str) -> None:
    exported = getattr(ht, name)
    for part in get_args(exported) or [exported]:  # of a union
        assert getattr(part, "__module__", part.__name__).startswith("hybridtrain")


def _public(names: list[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("__"))


def test_the_package_shows_its_public_names_alone() -> None:
    every = [module.name for module in pkgutil.walk_packages([str(FOLDER)], "hybridtrain.")]
    needs = {".dask_": "distributed", ".ray_": "ray"}
    without = [part for part, package in needs.items() if find_spec(package) is None]
    for name in every:
        if name != "hybridtrain.__main__" and not any(part in name for part in without):
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


CORE = Path(ht.__file__).parent / "_core"
BINARIES = sorted(CORE.glob("*.so*"))
LIBRARY = "libhybridtrain_core.so.0"
_linked = (CORE / LIBRARY).read_bytes()
_is_sanitized = b"__asan_init" in _linked or b"__tsan_init" in _linked


def test_the_package_holds_the_core_once() -> None:
    text = max(check.codes(), key=len).encode()
    assert [path.name for path in BINARIES if text in path.read_bytes()] == [LIBRARY]


@pytest.mark.skipif(_is_sanitized, reason="sanitizers add names")
@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
@pytest.mark.parametrize("path", BINARIES, ids=lambda path: path.name.partition(".")[0])
def test_the_library_alone_exports_names_of_the_core(path: Path) -> None:
    command = ["nm", "--dynamic", "--defined-only", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    names = [line.split()[-1] for line in done.stdout.splitlines()]
    of_core = [name for name in names if name.startswith("ht_")]
    assert of_core == (names if path.name == LIBRARY else [])
    assert names


@pytest.mark.skipif(_is_sanitized, reason="sanitizers need debug information")
def test_the_core_and_its_modules_are_stripped_and_small() -> None:
    assert sum(path.stat().st_size for path in BINARIES) < 2_150_000
    assert not [path.name for path in BINARIES if b".debug_info" in path.read_bytes()]
