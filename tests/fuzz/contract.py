# SPDX-License-Identifier: BSD-3-Clause
"""What every case must end with: one of our own errors, or a sound model."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

import hybridtrain as ht

_LONGEST_MESSAGE = 6_000
_OF_PROBABILITIES = 1e-5
_LARGEST = float(np.finfo(np.float32).max)


class UnsoundError(Exception):
    """The contract is broken; the message says how."""


def require(holds: object, says: str) -> None:
    """Raise where the contract does not hold."""
    if not holds:
        raise UnsoundError(says)


@contextlib.contextmanager
def building() -> Iterator[None]:
    """Make a hostile input: the warnings of NumPy and SciPy about it are not ours."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Allowed:
    """Errors that a case may end with, besides our own.

    Attributes
    ----------
    missing_files : bool
        The case has a path that does not exist or cannot be read: OSError.
    signature : bool
        The case has a keyword that the function lacks: TypeError.
    no_path : bool
        The case has what is no path in place of one: TypeError.
    scikit_learn : bool
        The case calls an estimator: what scikit-learn's own checks raise.
    """

    missing_files: bool = False
    signature: bool = False
    no_path: bool = False
    scikit_learn: bool = False


def outcome_of(error: BaseException, allowed: Allowed) -> str:
    """Return the name of an error that the contract allows; raise for another.

    Raises
    ------
    UnsoundError
        When the error is none of ours, or says too much.
    """
    name = type(error).__name__
    if isinstance(error, UnsoundError):
        raise error
    if isinstance(error, ht.CoreError):
        raise UnsoundError(f"the core refused what nobody had checked: {error}") from error
    if isinstance(error, ht.HybridTrainError):
        text = str(error)
        require(text.strip(), f"{name} without a message")
        require(len(text) <= _LONGEST_MESSAGE, f"{name} of {len(text)} characters: {text[:99]}")
        return name
    if allowed.missing_files and isinstance(error, OSError):
        return "OSError"
    if allowed.signature and isinstance(error, TypeError) and "unexpected keyword" in str(error):
        return "TypeError"
    if allowed.no_path and isinstance(error, TypeError):
        return "TypeError"
    if allowed.scikit_learn and isinstance(error, ValueError | TypeError) and _of_sklearn(error):
        return f"scikit-learn's {name}"
    raise UnsoundError(f"raw {name}: {str(error)[:300]} ({_place(error)})") from error


def _of_sklearn(error: BaseException) -> bool:
    """Whether scikit-learn's checks raised it, which our estimators call first."""
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = [k for k, name in enumerate(frames) if "hybridtrain" in PurePath(name).parts]
    beyond = frames[ours[-1] + 1 :] if ours else frames
    return any("sklearn" in PurePath(name).parts for name in beyond)


def _place(error: BaseException) -> str:
    """Return the innermost lines of our own modules."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "hybridtrain" in PurePath(f.filename).parts][-2:]
    return ", ".join(f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in ours) or "tests"


def refused(call: Callable[[], object], says: str, allowed: Allowed) -> str:
    """Require that a call raises an error that is allowed; return its name."""
    try:
        call()
    except Exception as error:
        return outcome_of(error, allowed)
    raise UnsoundError(f"not refused: {says}")


def check_model(
    result: ht.Result, X: Any = None, *, n_rows: int | None = None, trained: bool = True
) -> None:
    """Require finite parameters of the right shapes; of what was trained here a true ledger."""
    coef, intercept = result.params["coef"], result.params["intercept"]
    is_float32 = isinstance(coef, np.ndarray) and coef.dtype == np.float32
    require(is_float32, f"coef is {getattr(coef, 'dtype', type(coef))}")
    require(np.isfinite(coef).all(), "coef is not finite")
    require(np.isfinite(intercept).all(), f"intercept {intercept!r}")
    is_softmax = result.model.loss == "softmax"
    classes = result.classes
    if result.model.is_classifier:
        require(np.ndim(classes) == 1, f"classes {classes!r}")
        require(len(classes) >= 2, f"classes {classes!r}")
        assert classes is not None
        require(is_softmax or len(classes) == 2, f"{len(classes)} classes of a loss of two")
    else:
        require(classes is None, f"classes {classes!r} of a regression")
    if is_softmax:
        assert classes is not None
        require(coef.ndim == 2 and len(coef) == len(classes), f"coef of shape {coef.shape}")
        require(np.shape(intercept) == (len(classes),), f"intercept of {np.shape(intercept)}")
    else:
        require(coef.ndim == 1, f"coef of shape {coef.shape}")
        require(type(intercept) is float, f"intercept is {type(intercept).__name__}")
    if trained:
        _check_story(result, n_rows)
    if X is not None:
        check_predictions(result, X)


def _check_story(result: ht.Result, n_rows: int | None) -> None:
    n_trained = sum(entry.trained > 0 for entry in result.ledger)  # time may end one before a row
    require(len(result.history) == n_trained, "history and ledger differ in length")
    for record in result.history:
        require(np.isfinite(record.loss), f"loss {record.loss}")
        validated = record.validation_loss
        require(validated is None or validated >= 0, f"validation loss {validated}")
    for k, entry in enumerate(result.ledger, 1):
        require(entry.epoch == k, f"epoch {entry.epoch} at {k}")
        rows = entry.trained + entry.dropped
        require(n_rows is None or rows == n_rows, f"{rows} rows in the ledger, {n_rows} in X")
        require(rows >= 0 and 0 <= entry.repeated <= rows, f"ledger {entry}")
    if result.workers:
        by_workers = sum(worker.rows for worker in result.workers)
        trained = sum(entry.trained for entry in result.ledger)
        require(by_workers == trained, f"workers trained {by_workers} rows, the ledger {trained}")


def check_predictions(result: ht.Result, X: Any) -> None:
    """Require predictions of the classes, and probabilities that add up to 1."""
    z = result.decision_function(X)
    n_rows = X.shape[0]
    is_wide = result.scaling is not None and result.scaling.is_shifted and z.dtype == np.float64
    is_right = z.dtype == np.float32 or is_wide
    require(is_right and len(z) == n_rows, f"margins {z.dtype} {z.shape}")
    require(np.isfinite(z).all() or _is_beyond(result, X), "margins are not finite")
    labels = result.predict(X)
    require(labels.shape == (n_rows,), f"predictions of shape {labels.shape}")
    if result.classes is not None:
        require(np.isin(labels, result.classes).all(), "predictions are not of the classes")
    if result.model.has_probabilities:
        assert result.classes is not None
        p = result.predict_proba(X)
        require(p.shape == (n_rows, len(result.classes)), f"probabilities of shape {p.shape}")
        require(((p >= 0) & (p <= 1)).all(), "probabilities outside 0 .. 1, or NaN")
        sums = p.sum(axis=1, dtype=np.float64)
        require((abs(sums - 1) <= _OF_PROBABILITIES).all(), f"probabilities add up to {sums[:9]}")


def _is_beyond(result: ht.Result, X: Any) -> bool:
    """Whether the terms of a margin add up to more than float32 holds."""
    coef = np.atleast_2d(result.params["coef"]).astype(np.float64)
    rows = abs(X.toarray() if hasattr(X, "toarray") else np.asarray(X)).astype(np.float64)
    return bool((rows @ abs(coef).T).max() > _LARGEST / 4)


def fingerprint(result: ht.Result) -> bytes:
    """Return what two runs of the same rows have in common, to the bit."""
    losses = [(record.loss, record.validation_loss) for record in result.history]
    intercept = np.asarray(result.params["intercept"], np.float32)
    coef: bytes = result.params["coef"].tobytes()
    return coef + intercept.tobytes() + repr(losses).encode()
