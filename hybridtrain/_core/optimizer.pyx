# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers: the names that the core knows, and their traits."""

from hybridtrain._core.optimizer cimport (
    HT_ADDED,
    HT_COMPENSATED,
    HT_MEAN,
    HT_MEAN_OF_SQUARES,
    HT_OPTIMIZER_COUNT,
    HT_SUM_OF_SQUARES,
    HT_VELOCITY,
    HT_WEIGHTED,
    ht_optimizer_arrays,
    ht_optimizer_has_shares,
    ht_optimizer_intercept_rate,
    ht_optimizer_is_dense,
    ht_optimizer_is_dual,
    ht_optimizer_name,
    ht_optimizer_stride,
    ht_optimizer_t,
    ht_optimizer_traits,
)

OPTIMIZERS = {
    ht_optimizer_name(<ht_optimizer_t>i).decode("ascii"): i for i in range(HT_OPTIMIZER_COUNT)
}
# How changes of replicas enter.
WEIGHINGS = {"weighted": HT_WEIGHTED, "added": HT_ADDED, "compensated": HT_COMPENSATED}
_CONTENTS = {
    HT_VELOCITY: "velocity",
    HT_MEAN: "mean",
    HT_MEAN_OF_SQUARES: "mean of squares",
    HT_SUM_OF_SQUARES: "sum of squares",
}


cdef ht_optimizer_t optimizer_at(int number) except *:
    if not 0 <= number < HT_OPTIMIZER_COUNT:
        raise ValueError(f"optimizer: 0 .. {HT_OPTIMIZER_COUNT - 1} expected, got {number}")
    return <ht_optimizer_t>number


def contents(int optimizer) -> tuple[str, ...]:
    """Return what each array of an entry holds: "w" or "z", then the arrays of the state."""
    cdef ht_optimizer_t kind = optimizer_at(optimizer)
    first = "z" if ht_optimizer_is_dual(kind) else "w"
    state = [_CONTENTS[ht_optimizer_traits(kind).state[k]]
             for k in range(1, ht_optimizer_arrays(kind))]
    return (first, *state)


def hot_nbytes(int optimizer, bint has_shares) -> int:
    """Return the bytes that a hot coordinate takes in a worker's cache: entry and base."""
    cdef ht_optimizer_t kind = optimizer_at(optimizer)
    return sizeof(float) * (ht_optimizer_stride(kind, has_shares) + ht_optimizer_arrays(kind))


def has_shares(int optimizer) -> bool:
    """Return whether the optimizer spreads a penalty over the rows that hold a feature."""
    return ht_optimizer_has_shares(optimizer_at(optimizer)) != 0


def is_dense(int optimizer) -> bool:
    """Return whether the optimizer changes every parameter in every step."""
    return ht_optimizer_is_dense(optimizer_at(optimizer)) != 0


def is_dual(int optimizer) -> bool:
    """Return whether the optimizer computes parameters from sums where they are read."""
    return ht_optimizer_is_dual(optimizer_at(optimizer)) != 0


def intercept_rate(int optimizer, bint dense_rows) -> float:
    """Return the optimizer's rate on the intercept, as a share of lr."""
    return ht_optimizer_intercept_rate(optimizer_at(optimizer), dense_rows)
