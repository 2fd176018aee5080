# SPDX-License-Identifier: BSD-3-Clause
"""Rows as users have them, read in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hybridtrain.data.exact_rows import ExactRows

TABLE = np.random.default_rng(0).integers(0, 1 << 52, (37, 3)).astype(np.float64)
IDS = np.array([3, 0, 36, 3])

FORMS: dict[str, Any] = {
    "float64": TABLE,
    "Fortran order": np.asfortranarray(TABLE),
    "int64": TABLE.astype(np.int64),
    "strided": np.repeat(TABLE, 2, axis=0)[::2],
    "frame": pd.DataFrame(TABLE),
    "mixed frame": pd.DataFrame(TABLE).astype({0: "int64", 1: "Int64", 2: "Float64"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_as_it_is(form: str) -> None:
    rows = ExactRows(FORMS[form])
    assert (rows.n_rows, rows.n_features, rows.is_converted) == (37, 3, True)
    assert np.array_equal(rows.read(5, 20), TABLE[5:20])
    some = rows.take(IDS)
    assert some.n_rows == 4
    assert np.array_equal(some.read(1, 4), TABLE[IDS][1:])
    assert np.array_equal(
        some.take(np.array([True, False, True, False])).read(0, 2), TABLE[[3, 36]]
    )
    assert rows.whole() is FORMS[form]
    assert np.array_equal(np.asarray(some.whole(), np.float64), TABLE[IDS])


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_is_the_callers_own(form: str) -> None:
    rows = ExactRows(FORMS[form])
    rows.read(0, 37)[:] = 0
    assert np.array_equal(rows.read(0, 37), TABLE)


def test_rows_of_float32_need_no_copy() -> None:
    assert not ExactRows(TABLE.astype(np.float32)).is_converted
    assert not ExactRows(pd.DataFrame(TABLE.astype(np.float32))).is_converted
