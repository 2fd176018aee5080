# SPDX-License-Identifier: BSD-3-Clause
"""What tests of files share: runs on paths, refusals, and headers that claim what is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridtrain as ht


def train_on(data: Any, **settings: Any) -> ht.Result:
    return ht.train(ht.Linear(l2=1e-3), data, workers=1, epochs=2, **settings)


def have_same_bits(a: ht.Result, b: ht.Result) -> bool:
    return np.array_equal(a.params["coef"], b.params["coef"]) and (
        a.params["intercept"] == b.params["intercept"]
    )


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(ht.InvalidDataError) as caught:
        ht.read_data(path, **settings)
    return str(caught.value)


def is_equal(X: Any, expected: Any) -> bool:
    return X.shape == expected.shape and (expected != X).nnz == 0


def claim_shape(file: Path, shape: str, dtype: str = "<f4", content: bytes = bytes(16)) -> None:
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    file.write_bytes(start + header + content)
