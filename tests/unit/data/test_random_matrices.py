# SPDX-License-Identifier: BSD-3-Clause
"""Matrices of any shape and pattern: no crash, finite parameters, all rows accounted for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import hybridtrain as ht

STRATEGIES = ["hybrid", "hybrid(every=3)", "hybrid(hot=0.5)", "hybrid(hot=1)", "hogwild"]


def _values(largest: int) -> st.SearchStrategy[float]:
    """Draw 0 or what can be squared: rows of smaller values are refused, test_optimizers.py."""
    return st.floats(-largest, largest, width=32).map(lambda x: x if abs(x) > 1e-6 else 0.0)


@st.composite
def matrices(draw: st.DrawFn) -> Any:
    """Draw up to 30 rows and 20 features, in any order; any rows or columns may be empty."""
    n_rows, n_features = draw(st.integers(2, 30)), draw(st.integers(1, 20))
    columns = st.lists(st.integers(0, n_features - 1), unique=True, max_size=n_features)
    rows = [draw(columns) for _ in range(n_rows)]
    n_elements = sum(len(row) for row in rows)
    value = draw(st.sampled_from([st.just(1.0), _values(3), _values(100)]))
    values = draw(st.lists(value, min_size=n_elements, max_size=n_elements))
    pointers = np.cumsum([0, *(len(row) for row in rows)])
    indices = np.array([column for row in rows for column in row], np.int32)
    data = np.array(values, np.float32)
    return sparse.csr_matrix((data, indices, pointers), shape=(n_rows, n_features))


PLANS = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(STRATEGIES),
        "optimizer": st.sampled_from(["sgd", "adagrad"]),
        "workers": st.integers(1, 2),
        "seed": st.integers(0, 2**64 - 1),
    }
)
MODELS = st.builds(
    ht.Linear,
    l1=st.sampled_from([0.0, 0.01]),
    l2=st.sampled_from([0.0, 0.1]),
    fit_intercept=st.booleans(),
)


@pytest.mark.filterwarnings("ignore::hybridtrain.DataWarning")  # one column far off
@settings(max_examples=80, deadline=None, database=None, print_blob=True)
@given(X=matrices(), model=MODELS, plan=PLANS, seed=st.integers(0, 1000))
def test_any_matrix_trains_to_finite_parameters(
    X: Any, model: ht.Linear, plan: dict[str, Any], seed: int
) -> None:
    n_rows = X.shape[0]
    y = np.random.default_rng(seed).random(n_rows) < 0.5
    y[:2] = False, True
    result = ht.train(model, (X, y), epochs=3, **plan)
    assert np.isfinite(result.params["coef"]).all()
    assert np.isfinite(result.params["intercept"])
    assert np.isfinite([record.loss for record in result.history]).all()
    assert [record.trained for record in result.ledger] == [n_rows] * 3
    assert np.all(result.params["coef"][np.diff(X.tocsc().indptr) == 0] == 0)
    assert result.predict_proba(X).shape == (n_rows, 2)
