# SPDX-License-Identifier: BSD-3-Clause
"""Arrays at odd addresses, behind masks, of strange objects."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import hybridtrain as ht
from hybridtrain.data.arrays import contiguous
from hybridtrain.data.missing import find_missing


def _odd(array: Any) -> Any:
    """Return a copy at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    found = memory[1:].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def test_an_array_at_an_odd_address_is_copied() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert contiguous(array, np.float32) is array
    found = contiguous(_odd(array), np.float32)
    assert found.flags.aligned
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("strategy", ["hybrid", "hogwild", "local_sgd(replicas=3)", "sync"])
@pytest.mark.parametrize("is_dense", [True, False])
def test_rows_at_odd_addresses_train_as_others(strategy: str, is_dense: bool) -> None:
    rng = np.random.default_rng(0)
    X: Any = (rng.random((60, 5)) * (rng.random((60, 5)) > 0.4)).astype(np.float32)
    y, weight = np.arange(60) % 2, rng.random(60) + 0.5
    odd = _odd(X)
    if not is_dense:
        X = sparse.csr_matrix(X)
        odd = X.copy()
        odd.data, odd.indices, odd.indptr = _odd(X.data), _odd(X.indices), _odd(X.indptr)
    found = [
        ht.train(ht.Linear(), data, strategy=strategy, workers=1, epochs=2).params["coef"].tolist()
        for data in ((X, y, weight), (odd, _odd(y), _odd(weight)))
    ]
    assert found[0] == found[1]


def test_masked_rows_are_not_saved(tmp_path: Path) -> None:
    X = np.ma.masked_array(np.ones((4, 2)), np.eye(4, 2) > 0)
    with pytest.raises(ht.InvalidDataError, match="X must not be masked"):
        ht.save_directory(tmp_path / "rows", X)


def test_a_signalling_nan_is_missing() -> None:
    values = np.array([decimal.Decimal(1), decimal.Decimal("sNaN"), None], dtype=object)
    found = find_missing(values)
    assert found is not None
    assert found.tolist() == [False, True, True]


def test_offsets_of_great_length_are_refused_by_their_length() -> None:
    X = sparse.dia_matrix((np.ones((1, 4), np.float32), [0]), shape=(4, 4))
    X.offsets = np.lib.stride_tricks.as_strided(np.zeros(1, np.int32), (1 << 33,), (0,))
    with pytest.raises(ht.InvalidDataError, match=r"X.offsets must hold .* got 8589934592 numbers"):
        ht.train(ht.Linear(), (X, np.arange(4) % 2), workers=1)
