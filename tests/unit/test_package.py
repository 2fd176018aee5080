# SPDX-License-Identifier: BSD-3-Clause
"""The package as a whole: what its import brings along."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hybridtrain as ht

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
    assert "site-packages" in ht.__file__


@pytest.mark.parametrize("name", ht.__all__)
def test_an_exported_name_says_where_it_comes_from(name: str) -> None:
    exported = getattr(ht, name)
    assert getattr(exported, "__module__", exported.__name__).startswith("hybridtrain")


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version  # noqa: PLC0415 - for this test alone

    assert ht.__version__ == version("hybridtrain")
