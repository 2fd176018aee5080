# SPDX-License-Identifier: BSD-3-Clause
"""Reference of ht_optimizer_step.h: the step of each optimizer where entries hold no share.

Float32, in the same order of operations. A step changes `State` in place; `d` is
gradient times value, and `scaled` the rate times gradient, times value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_EPS = np.float32(2.0**-27)
_BELOW_USE = np.float32(2.0**-83)
_ONE, _ZERO = np.float32(1), np.float32(0)


@dataclass
class State:
    """Parameters, and two arrays of state; of FTRL z and n."""

    w: Floats
    a: Floats
    b: Floats


@dataclass(frozen=True, kw_only=True)
class Step:
    """The constants of a step; see ht_step_t. c1 and c2 are the factors on l1 and l2."""

    lr: np.float32
    l1: np.float32 = _ZERO
    l2: np.float32 = _ZERO
    decay1: np.float32 = _ZERO
    decay2: np.float32 = _ZERO
    power1: np.float32 = _ONE
    power2: np.float32 = _ONE
    beta: np.float32 = _ZERO
    l1_sum: np.float32 = _ZERO
    l2_sum: np.float32 = _ZERO
    c1: Floats | np.float32 = _ONE
    c2: Floats | np.float32 = _ONE


def _shrink(w: Floats, threshold: Floats | np.float32) -> Floats:
    size = np.abs(w) - threshold
    return np.where(size <= 0, _ZERO, np.copysign(size, w))


def _normal(x: Floats) -> Floats:
    """Return x, but 0 where it would soon be subnormal."""
    return (x + _BELOW_USE) - _BELOW_USE


def _penalised(w: Floats, lr: np.float32, step: Step) -> Floats:
    """Apply the penalties of a step of length lr."""
    if step.l1 or step.l2:
        w = w * (_ONE / (lr * step.l2 * step.c2 + _ONE))
    return _shrink(w, lr * step.l1 * step.c1) if step.l1 else w


def _divided(w: Floats, d: Floats, root: Floats, step: Step) -> Floats:
    """Step by lr d / root, with the penalties of such a step."""
    if not (step.l1 or step.l2):
        return w - step.lr * d / root
    w = (w * root - step.lr * d) / (root + step.lr * step.l2 * step.c2)
    return _shrink(w, step.lr / root * step.l1 * step.c1) if step.l1 else w


def _sgd(state: State, d: Floats, scaled: Floats, step: Step) -> None:
    del d
    state.w = _penalised(state.w - scaled, step.lr, step)


def _momentum(state: State, d: Floats, scaled: Floats, step: Step) -> None:
    del scaled
    state.a = _normal(state.a * step.decay1 + d)
    state.w = _penalised(state.w - step.lr * state.a, step.lr / (_ONE - step.decay1), step)


def _adagrad(state: State, d: Floats, scaled: Floats, step: Step) -> None:
    del scaled
    state.a = state.a + d * d
    moved = _divided(state.w, d, np.sqrt(state.a) + _EPS, step)
    state.w = np.where(state.a == 0, state.w, moved)


def _adam(state: State, d: Floats, scaled: Floats, step: Step) -> None:
    del scaled
    state.a = _normal(state.a * step.decay1 + d * (_ONE - step.decay1))
    state.b = state.b * step.decay2 + d * d * (_ONE - step.decay2)
    mean = state.a * (_ONE / (_ONE - step.power1 * step.decay1))
    square = state.b * (_ONE / (_ONE - step.power2 * step.decay2))
    state.w = _divided(state.w, mean, np.sqrt(square) + _EPS, step)


def _rmsprop(state: State, d: Floats, scaled: Floats, step: Step) -> None:
    del scaled
    state.a = state.a * step.decay2 + d * d * (_ONE - step.decay2)
    state.w = _divided(state.w, d, np.sqrt(state.a) + _EPS, step)


def from_dual(z: Floats, n: Floats, step: Step) -> Floats:
    """Return the parameters that z and n of FTRL stand for."""
    divisor = (np.sqrt(n) + step.beta) / step.lr + step.c2 * step.l2_sum
    w = -_shrink(z, step.c1 * step.l1_sum) / divisor
    return w + _ZERO  # -0.0 is 0.0


def _ftrl(state: State, d: Floats, scaled: Floats, step: Step) -> None:
    del scaled
    w = from_dual(state.a, state.b, step)
    before = state.b
    state.b = before + d * d
    state.a = state.a + d - (np.sqrt(state.b) - np.sqrt(before)) / step.lr * w
    state.w = from_dual(state.a, state.b, step)


STEPS: dict[str, Callable[[State, Floats, Floats, Step], None]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adagrad": _adagrad,
    "adam": _adam,
    "ftrl": _ftrl,
    "rmsprop": _rmsprop,
}
DUAL = {"ftrl"}
