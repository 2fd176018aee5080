# SPDX-License-Identifier: BSD-3-Clause
"""Losses, of one output and of several classes: names, sums, curvature, probabilities."""

from libc.stdint cimport int64_t

from hybridtrain._core.base cimport ht_err_t
from hybridtrain._core.check cimport check
from hybridtrain._core.loss cimport (
    HT_LOSS_COUNT,
    ht_loss_curvature,
    ht_loss_has_minimum,
    ht_loss_is_valid,
    ht_loss_kind_t,
    ht_loss_name,
    ht_loss_sigmoid,
    ht_loss_sum,
    ht_loss_t,
)
from hybridtrain._core.softmax cimport (
    HT_MOST_CLASSES,
    HT_SOFTMAX_CURVATURE,
    ht_softmax_outputs,
    ht_softmax_proba,
    ht_softmax_sum,
)

LOSSES = {ht_loss_name(<ht_loss_kind_t>i).decode("ascii"): i for i in range(HT_LOSS_COUNT)}
MAX_CLASSES = HT_MOST_CLASSES
SOFTMAX_CURVATURE = float(HT_SOFTMAX_CURVATURE)


cdef ht_loss_t loss_at(int number, float parameter) except *:
    cdef ht_loss_t loss = ht_loss_t(<ht_loss_kind_t>number, parameter)
    if not ht_loss_is_valid(loss):
        raise ValueError(f"unknown loss {number}, or one that cannot have the parameter {parameter}")
    return loss


def loss_sum(int loss, const float[::1] z not None, const float[::1] y not None,
             const float[::1] weight, float parameter=0.0) -> float:
    """Return the sum of weight * loss(z, y); weight may be None."""
    cdef ht_loss_t chosen = loss_at(loss, parameter)
    cdef double total
    if y.shape[0] != z.shape[0] or (weight is not None and weight.shape[0] != z.shape[0]):
        raise ValueError("z, y and weight differ in length")
    if z.shape[0] == 0:
        return 0.0
    with nogil:
        total = ht_loss_sum(chosen, z.shape[0], &z[0], &y[0],
                            &weight[0] if weight is not None else NULL)
    return total


def loss_curvature(int loss, float parameter=0.0) -> float:
    """Return the largest second derivative of a loss in its margin."""
    return ht_loss_curvature(loss_at(loss, parameter))


def loss_has_minimum(int loss) -> bool:
    """Return whether the gradient falls to 0 evenly at a minimum."""
    return ht_loss_has_minimum(<ht_loss_kind_t>loss) != 0


def sigmoid(const float[::1] z not None, float[::1] p not None) -> None:
    """Write 1 / (1 + exp(-z)) to p."""
    if z.shape[0] != p.shape[0]:
        raise ValueError("z and p differ in length")
    if z.shape[0] > 0:
        ht_loss_sigmoid(z.shape[0], &z[0], &p[0])


def outputs(int64_t n_classes) -> int:
    """Return how many outputs a row has in the core: 1, or the classes of softmax, padded."""
    return ht_softmax_outputs(n_classes) if n_classes > 0 else 1


def softmax_sum(int64_t n_classes, const float[:, ::1] z not None, const float[::1] y not None,
                const float[::1] weight) -> float:
    """Return the sum of weight * softmax loss; z has padded outputs, weight may be None."""
    cdef double total = 0.0
    cdef ht_err_t err
    if (z.shape[1] != ht_softmax_outputs(n_classes) or z.shape[0] != y.shape[0]
            or (weight is not None and weight.shape[0] != z.shape[0])):
        raise ValueError("array lengths do not fit")
    if z.shape[0] > 0:
        with nogil:
            err = ht_softmax_sum(n_classes, z.shape[0], &z[0, 0], &y[0],
                                 &weight[0] if weight is not None else NULL, &total)
        check(err)
    return total


def softmax(int64_t n_classes, const float[:, ::1] z not None, float[:, ::1] p not None) -> None:
    """Write the classes' probabilities to p (n, n_classes); z has padded outputs."""
    if (z.shape[1] != ht_softmax_outputs(n_classes) or z.shape[0] != p.shape[0]
            or p.shape[1] != n_classes):
        raise ValueError("array lengths do not fit")
    cdef ht_err_t err
    if z.shape[0] > 0:
        with nogil:
            err = ht_softmax_proba(n_classes, z.shape[0], &z[0, 0], &p[0, 0])
        check(err)
