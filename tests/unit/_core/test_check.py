# SPDX-License-Identifier: BSD-3-Clause
"""The one place where codes of the core become exceptions."""

from __future__ import annotations

import errno
import os

import pytest

import hybridtrain as ht
from hybridtrain._core.check import codes, raise_for

SUCCESS, INVALID, INTERRUPTED, TIMEOUT = range(4)
CHANGED = 12
SPECIAL = {SUCCESS, INVALID, INTERRUPTED, TIMEOUT, CHANGED}


def test_every_code_has_a_text_of_its_own() -> None:
    texts = codes()
    assert len(set(texts)) == len(texts) > len(SPECIAL)
    assert "unknown error" not in texts
    assert texts[SUCCESS] == "success"
    assert texts[TIMEOUT] == "deadline passed"


def test_success_and_interrupted_waits_raise_nothing() -> None:
    assert raise_for(SUCCESS) == 0
    assert raise_for(INTERRUPTED) == 1


def test_an_invalid_argument_is_a_value_error_but_not_of_the_user() -> None:
    with pytest.raises(ValueError, match="invalid argument") as caught:
        raise_for(INVALID)
    assert not isinstance(caught.value, ht.HybridTrainError)


def test_a_deadline_is_a_timeout_error() -> None:
    with pytest.raises(ht.CoreTimeoutError, match="deadline passed"):
        raise_for(TIMEOUT)


def test_changed_rows_are_the_fault_of_the_data() -> None:
    with pytest.raises(
        ht.DataChangedError, match="changed since they were checked; they are those"
    ):
        raise_for(CHANGED)


@pytest.mark.parametrize("code", [code for code in range(len(codes())) if code not in SPECIAL])
def test_every_other_code_is_a_core_error_with_its_text(code: int) -> None:
    with pytest.raises(ht.CoreError) as caught:
        raise_for(code)
    assert str(caught.value) == codes()[code]


def test_a_code_that_does_not_exist_is_a_core_error() -> None:
    with pytest.raises(ht.CoreError, match="unknown error"):
        raise_for(len(codes()))


def test_refused_memory_is_a_memory_error_that_says_what_to_do() -> None:
    with pytest.raises(ht.OutOfMemoryError, match="refused memory; choose fewer workers"):
        raise_for(-errno.ENOMEM)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM])
def test_a_negative_errno_is_an_os_error_with_that_number(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        raise_for(-number)
    assert caught.value.errno == number
