# SPDX-License-Identifier: BSD-3-Clause
"""Errors: each is also of a standard type, so that habits and tools work."""

from __future__ import annotations

import pytest

import hybridtrain as ht

STANDARD = [
    (ht.InvalidDataError, ValueError),
    (ht.InvalidSettingError, ValueError),
    (ht.MissingPackageError, ImportError),
    (ht.CoreError, RuntimeError),
    (ht.CoreTimeoutError, TimeoutError),
    (ht.OutOfMemoryError, MemoryError),
    (ht.ForkedError, RuntimeError),
    (ht.DivergedError, FloatingPointError),
    (ht.NodesLostError, ConnectionError),
]


@pytest.mark.parametrize(("error", "standard"), STANDARD)
def test_an_error_is_of_this_package_and_of_a_standard_type(
    error: type[Exception], standard: type[Exception]
) -> None:
    assert issubclass(error, standard)
    assert issubclass(error, ht.HybridTrainError)


def test_lost_nodes_are_told_with_their_last_words() -> None:
    error = ht.NodesLostError("no node is left", nodes=("a: killed (signal 9)", "b: silent"))
    assert str(error) == "no node is left; a: killed (signal 9); b: silent"
    assert error.nodes == ("a: killed (signal 9)", "b: silent")
    assert error.result is None


def test_an_interruption_is_not_swallowed_by_except_exception() -> None:
    assert issubclass(ht.TrainingInterrupted, KeyboardInterrupt)
    assert not issubclass(ht.TrainingInterrupted, Exception)
    assert not issubclass(ht.TrainingInterrupted, ht.HybridTrainError)


def test_every_error_is_exported() -> None:
    from hybridtrain import errors  # noqa: PLC0415 - what it defines is the subject

    defined = {name for name in vars(errors) if isinstance(getattr(errors, name), type)}
    assert {name for name in defined if issubclass(getattr(errors, name), BaseException)} <= set(
        ht.__all__
    )


def test_every_exported_name_exists_and_has_a_docstring() -> None:
    assert all(getattr(ht, name).__doc__ for name in ht.__all__)
