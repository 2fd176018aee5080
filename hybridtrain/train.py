# SPDX-License-Identifier: BSD-3-Clause
"""The one call that trains."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.choices import first_intercept
from hybridtrain.data import (
    Csr,
    Floats,
    canonical_rows,
    class_targets,
    real_targets,
    sample_weights,
)
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.job import Job, Progress, Validation, forced_isa
from hybridtrain.machine import usable_cores
from hybridtrain.models import Linear
from hybridtrain.optimizers import Optimizer, parse_optimizer
from hybridtrain.plan import make_plan
from hybridtrain.result import Result
from hybridtrain.strategies import Strategy, parse_strategy


def train(
    model: Linear,
    data: tuple[Any, ...],
    *,
    strategy: str | Strategy = "hybrid",
    optimizer: str | Optimizer = "sgd",
    workers: int | None = None,
    epochs: int = 5,
    batch_size: int | None = None,
    seed: int = 0,
    init: Result | dict[str, Any] | None = None,
    validation: float | tuple[Any, ...] | None = None,
    progress: bool | None = None,
) -> Result:
    """Train a model on many workers.

    Parameters
    ----------
    model : Linear
        What to learn.
    data : (X, y) or (X, y, sample_weight)
        X a SciPy sparse matrix (n_rows, n_features), read in place when it is
        CSR with float32 values and int32 indices; y (n_rows,) labels of two
        classes, or numbers for squared loss; sample_weight (n_rows,) >= 0.
    strategy : str or strategy
        "hybrid", "hogwild", "sync", or with arguments: "hybrid(every=4096)",
        `Hybrid(every=4096)`.
    optimizer : str or optimizer
        "sgd", "adagrad", or `SGD(lr=0.5)`, `AdaGrad(lr=0.1)`.
    workers : int, optional
        Threads that train; None: the usable cores (affinity and cgroup quota).
    epochs : int
        At least 1; in an epoch every row is used once.
    batch_size : int, optional
        Rows per step over all workers, for `Sync`; None: chosen from the data.
        `Hogwild` and `Hybrid` step on one row; another value is refused.
    seed : int
        In 0 .. 2**64 - 1. Chooses the order of the rows. Equal seeds give equal
        bits with one worker, and with `Sync` with any number of them.
    init : Result or dict, optional
        Parameters to start from ("coef", "intercept"); None: zeros, and the best
        intercept without features (the mean of y, or the log-odds of the classes).
    validation : float or (X, y) or (X, y, sample_weight), optional
        Rows to measure the loss on after each epoch: a share of the rows in
        0 .. 1, drawn at random and not trained on (this copies the rows), or
        data of their own.
    progress : bool, optional
        None or True: runs longer than a second show their epochs on standard
        error; False: never.

    Returns
    -------
    Result

    Raises
    ------
    InvalidDataError
        When the data cannot be used; the message says what to change.
    InvalidSettingError
        When an argument is out of range or does not go with another.
    OutOfMemoryError
        When the run needs more memory or threads than there are.
    DivergedError
        When the loss becomes infinite or NaN; `.result` has the last good parameters.
    TrainingInterrupted
        On Ctrl-C (a KeyboardInterrupt); `.result` is the partial result.

    Notes
    -----
    The training reads the rows once per epoch, about 8 bytes an element.
    Arrays must not be changed by other threads meanwhile.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, hybridtrain as ht
    >>> X = sp.random(1000, 50, density=0.2, format="csr", dtype=np.float32, random_state=0)
    >>> y = np.asarray(X[:, :5].sum(axis=1)).ravel() > 0.5
    >>> result = ht.train(ht.Linear(), (X, y), workers=1, epochs=20)
    >>> bool(result.score(X, y) > 0.85)
    True
    """
    if not isinstance(model, Linear):
        raise InvalidSettingError(f"model must be ht.Linear(...), got {model!r}")
    chosen_strategy = parse_strategy(strategy)
    chosen_optimizer = parse_optimizer(optimizer)
    n_workers = _require_int("workers", usable_cores() if workers is None else workers, least=1)
    _require_int("epochs", epochs, least=1)
    _require_int("seed", seed, least=0)
    if seed >= 1 << 64:
        raise InvalidSettingError(f"seed must be below 2**64, got {seed}")
    started = time.perf_counter()
    csr, y, weight = _unpack(data, "data", n_workers)
    held_out = None
    if isinstance(validation, tuple):
        held_out = _unpack(validation, "validation", n_workers, csr.n_features)
    elif validation is not None:
        (csr, y, weight), held_out = _split(csr, y, weight, validation, seed)
    targets, weights, classes = _targets(model, csr, y, weight, None)
    checked = None
    if held_out is not None:
        valid_csr, valid_y, valid_weight = held_out
        valid_targets, valid_weights, _ = _targets(model, valid_csr, valid_y, valid_weight, classes)
        checked = Validation(valid_csr.rows(), valid_targets, valid_weights)
    if init is None:
        init = {
            "coef": np.zeros(csr.n_features, np.float32),
            "intercept": first_intercept(model, targets, weights),
        }
    coef, intercept, classes = _initial(init, model, csr.n_features, classes)
    checked_at = time.perf_counter()
    plan = make_plan(
        model,
        csr,
        targets,
        weights,
        strategy=chosen_strategy,
        optimizer=chosen_optimizer,
        workers=n_workers,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        isa=forced_isa(),
    )
    plan.settings["checking_seconds"] = checked_at - started
    plan.settings["preparing_seconds"] = time.perf_counter() - started
    return Job(plan, classes, epochs, checked, Progress(progress, epochs)).run(coef, intercept)


def _require_int(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InvalidSettingError(f"{name} must be an int >= {least}, got {value!r}")
    if value < least:
        raise InvalidSettingError(f"{name} must be >= {least}, got {value}")
    return int(value)


_Data = tuple[Csr, npt.NDArray[Any], npt.NDArray[Any] | None]


def _unpack(data: Any, name: str, threads: int, n_features: int | None = None) -> _Data:
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise InvalidDataError(
            f"{name} must be a tuple (X, y) or (X, y, sample_weight), got {type(data).__name__}"
            + (f" of length {len(data)}" if isinstance(data, tuple) else "")
        )
    csr = canonical_rows(data[0], threads=threads, n_features=n_features)
    return csr, data[1], data[2] if len(data) == 3 else None


def _targets(
    model: Linear,
    csr: Csr,
    y: Any,
    weight: Any,
    classes: npt.NDArray[Any] | None,
) -> tuple[Floats, Floats | None, npt.NDArray[Any] | None]:
    weights = None if weight is None else sample_weights(weight, csr.n_rows)
    if not model.is_classifier:
        return real_targets(y, csr.n_rows), weights, None
    targets, found = class_targets(y, csr.n_rows, classes)
    return targets, weights, found


def _split(csr: Csr, y: Any, weight: Any, share: Any, seed: int) -> tuple[_Data, _Data]:
    """Hold out a random share of the rows; the rest keep their order."""
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(csr.n_rows * share) if is_number and math.isfinite(share) else 0
    if not 0 < n_valid < csr.n_rows:
        raise InvalidSettingError(
            "validation must be a tuple of data or a share of the rows that leaves rows on "
            f"both sides (0 < share < 1, {csr.n_rows} rows), got {share!r}"
        )
    from scipy import sparse  # noqa: PLC0415 - costs 0.1 s at import

    y = np.asarray(y)
    weight = None if weight is None else np.asarray(weight)
    for name, vector in (("y", y), ("sample_weight", weight)):
        if vector is not None and vector.shape[:1] != (csr.n_rows,):
            raise InvalidDataError(
                f"{name} must have {csr.n_rows} values, one for each row of X, "
                f"got shape {vector.shape}"
            )
    is_valid = np.zeros(csr.n_rows, np.bool_)
    is_valid[np.random.default_rng(seed).permutation(csr.n_rows)[:n_valid]] = True
    values = np.ones(len(csr.indices), np.float32) if csr.values is None else csr.values
    matrix = sparse.csr_matrix(
        (values, csr.indices, csr.pointers), shape=(csr.n_rows, csr.n_features), copy=False
    )

    def part(mask: npt.NDArray[np.bool_]) -> _Data:
        rows = matrix[mask]
        copied = (*csr.copied, "X: rows split from the validation rows")
        piece = Csr(
            rows.indptr.astype(np.int64),
            rows.indices.astype(np.int32, copy=False),
            rows.data,
            csr.n_features,
            copied,
        )
        return piece, y[mask], None if weight is None else weight[mask]

    return part(~is_valid), part(is_valid)


def _initial(
    init: Any, model: Linear, n_features: int, classes: npt.NDArray[Any] | None
) -> tuple[Floats, float, npt.NDArray[Any] | None]:
    if isinstance(init, Result):
        if classes is not None and (
            init.classes is None or init.classes.tolist() != classes.tolist()
        ):
            raise InvalidDataError(
                f"init was trained on the classes {init.classes!r}, y holds {classes!r}"
            )
        init = init.params
    if not isinstance(init, dict) or "coef" not in init:
        raise InvalidSettingError(
            'init must be a Result or a dict with "coef" and "intercept", got '
            f"{type(init).__name__}"
        )
    coef = np.array(init["coef"], dtype=np.float32)
    intercept = float(init.get("intercept", 0.0))
    if coef.shape != (n_features,) or not np.isfinite(coef).all() or not math.isfinite(intercept):
        raise InvalidSettingError(
            f'init["coef"] must be {n_features} finite numbers, got shape {coef.shape}'
        )
    if intercept and not model.fit_intercept:
        raise InvalidSettingError("init has an intercept, but fit_intercept is False")
    return coef, intercept, classes
