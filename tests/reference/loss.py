# SPDX-License-Identifier: BSD-3-Clause
"""Reference of ht_loss.c and of HT_DEFINE_EXP in ht_vector.h, float32, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
OWN: dict[str, dict[str, Any]] = {"huber": {"delta": 0.75}, "quantile": {"q": 0.75}}  # of tests
_TOP = np.float32(87.0)
_MAGIC = np.float32(12582912.0)  # 1.5 * 2**23: adding it rounds to an integer
_POLYNOMIAL = [  # Cephes, expf
    np.float32(1.3981999507e-3),
    np.float32(8.3334519073e-3),
    np.float32(4.1665795894e-2),
    np.float32(1.6666665459e-1),
    np.float32(5.0000001201e-1),
]


def exp(x: Floats) -> Floats:
    """Return the package's own exp(x): x = n ln 2 + r, a polynomial in r, times 2**n."""
    x = np.where(x > _TOP, _TOP, x)
    x = np.where(x < -_TOP, -_TOP, x)
    shifted = x * np.float32(1.44269504) + _MAGIC
    n = shifted - _MAGIC
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.full_like(r, np.float32(1.9875691500e-4))
    for coefficient in _POLYNOMIAL:
        p = p * r + coefficient
    p = p * (r * r) + r + np.float32(1.0)
    # The low bits of `shifted` hold n: they go to the exponent.
    bits = p.view(np.int32) + (shifted.view(np.int32) << 23)
    return bits.view(np.float32)


def gradient(loss: str, z: Floats, y: Floats, parameter: float = 1.0) -> Floats:
    """Return the derivative of the loss in the margins z."""
    one, zero, size = np.float32(1.0), np.float32(0.0), np.float32(parameter)
    if loss == "logistic":
        return -y / (exp(y * z) + one)
    if loss == "hinge":
        return np.where(y * z < one, -y, zero)
    if loss == "squared_hinge":
        return np.where(y * z < one, np.float32(-2.0) * y * (one - y * z), zero)
    if loss == "quantile":
        return np.where(z > y, one - size, np.where(z < y, -size, zero))
    r = (exp(z) if loss == "poisson" else z) - y
    return np.clip(r, -size, size) if loss == "huber" else r


def has_minimum(loss: str) -> bool:
    """Whether steps are bounded, see ht_loss_bound."""
    return loss in ("squared", "huber", "squared_hinge", "poisson")


def bounded(loss: str, z: Floats, y: Floats, gradients: Floats, reach: Floats) -> Floats:
    """Return gradients with which no step passes the minimum of its row."""
    if not has_minimum(loss):
        return gradients
    size = np.abs(gradients)
    if loss == "squared_hinge":
        most = np.abs(np.float32(1.0) - y * z)
    elif loss == "poisson":
        most = size / np.maximum(gradients + y, y)
    else:
        most = np.abs(z - y)
    with np.errstate(all="ignore"):
        return np.where(size * reach > most, np.copysign(most / reach, gradients), gradients)


def value(loss: str, z: Floats, y: Floats, parameter: float = 1.0) -> npt.NDArray[np.float64]:
    """Return the losses in float64, for comparison within rounding only."""
    z64, y64 = z.astype(np.float64), y.astype(np.float64)
    if loss == "logistic":
        return np.logaddexp(0.0, -y64 * z64)
    if loss in ("hinge", "squared_hinge"):
        short_of = np.maximum(0.0, 1.0 - y64 * z64)
        return short_of if loss == "hinge" else short_of**2
    size = np.abs(z64 - y64)
    if loss == "huber":
        return np.where(size <= parameter, size**2 / 2, parameter * size - parameter**2 / 2)
    if loss == "poisson":
        best = np.where(y64 > 0, y64 * np.log(np.where(y64 > 0, y64, 1.0)) - y64, 0.0)
        return np.exp(z64) - y64 * z64 + best
    if loss == "quantile":
        return np.where(z64 > y64, 1.0 - parameter, parameter) * size
    return size**2 / 2
