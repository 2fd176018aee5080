# SPDX-License-Identifier: BSD-3-Clause
"""The package as a whole: what its import brings along, and what it holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import pytest

import hybridtrain as ht
from hybridtrain._core import check

LATE = ["scipy", "tqdm", "sklearn", "pandas", "matplotlib", "concurrent.futures.process"]


def _imported(code: str, *extra: str) -> list[str]:
    """Return which of LATE a fresh interpreter holds after some code."""
    show = f"import sys; print(*[name for name in {LATE + list(extra)} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{code}; {show}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split()


def test_import_brings_in_nothing_that_is_not_needed_yet() -> None:
    assert _imported("import hybridtrain", "numpy", "hybridtrain") == ["numpy", "hybridtrain"]


def test_the_tests_run_on_the_installed_package() -> None:
    origin = json.loads(distribution("hybridtrain").read_text("direct_url.json") or "{}")
    is_editable = origin.get("dir_info", {}).get("editable", False)
    place = origin["url"].removeprefix("file://") if is_editable else "site-packages"
    assert place in ht.__file__


@pytest.mark.parametrize("name", ht.__all__)
def test_an_exported_name_says_where_it_comes_from(name: str) -> None:
    exported = getattr(ht, name)
    assert getattr(exported, "__module__", exported.__name__).startswith("hybridtrain")


def test_the_version_is_that_of_the_distribution() -> None:
    assert ht.__version__ == version("hybridtrain")


CORE = Path(ht.__file__).parent / "_core"
BINARIES = sorted(CORE.glob("*.so"))
LIBRARY = "libhybridtrain_core.so"
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
    assert sum(path.stat().st_size for path in BINARIES) < 1_500_000
    assert not [path.name for path in BINARIES if b".debug_info" in path.read_bytes()]
