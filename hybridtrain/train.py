# SPDX-License-Identifier: BSD-3-Clause
"""The one call that trains."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.budget import Budget
from hybridtrain.choices import first_intercept
from hybridtrain.class_weights import weights_of_classes, weights_of_rows
from hybridtrain.data import (
    Floats,
    Matrix,
    canonical_rows,
    class_targets,
    real_targets,
    sample_weights,
)
from hybridtrain.errors import InvalidDataError, InvalidSettingError
from hybridtrain.files import read_data
from hybridtrain.job import Job, Progress, forced_isa
from hybridtrain.machine import usable_cores
from hybridtrain.models import Linear
from hybridtrain.optimizers import Optimizer, parse_optimizer
from hybridtrain.plan import make_plan
from hybridtrain.problem import Problem
from hybridtrain.result import Result
from hybridtrain.stopping import Callback, Stopping
from hybridtrain.strategies import Strategy, parse_strategy

_EPOCHS = 5
_MOST_EPOCHS = 1000  # where the time decides


def train(
    model: Linear,
    data: tuple[Any, ...] | str | os.PathLike[str],
    *,
    strategy: str | Strategy = "hybrid",
    optimizer: str | Optimizer = "sgd",
    workers: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    init: Result | dict[str, Any] | None = None,
    validation: float | tuple[Any, ...] | str | os.PathLike[str] | None = None,
    seconds: float | None = None,
    patience: int | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
) -> Result:
    """Train a model on many workers.

    Parameters
    ----------
    model : Linear
        What to learn.
    data : (X, y) or (X, y, sample_weight) or path
        X a SciPy sparse matrix, NumPy array or pandas frame (n_rows, n_features),
        read in place when it is CSR with float32 values and int32 indices, or
        float32 in C order; y (n_rows,) labels, or numbers for squared loss;
        sample_weight (n_rows,) >= 0. A path is read by `read_data`.
    strategy : str or strategy
        "hybrid", "hogwild", "sync", or with arguments: "hybrid(every=4096)",
        `Hybrid(every=4096)`.
    optimizer : str or optimizer
        "sgd", "adagrad", "adam", "ftrl", or `SGD(lr=0.5)`, `AdaGrad(lr=0.1)`.
    workers : int, optional
        Threads that train; None: the usable cores (affinity and cgroup quota).
    epochs : int, optional
        At least 1; in an epoch every row is used once. None: 5, or with `seconds` as
        many as fit, at most 1,000.
    batch_size : int, optional
        Rows per step over all workers, for `Sync`; None: chosen from the data.
        `Hogwild` and `Hybrid` step on one row; another value is refused.
    seed : int
        In 0 .. 2**64 - 1. Chooses the order of the rows. Equal seeds give equal
        bits with one worker, and with `Sync` with any number of them.
    init : Result or dict, optional
        Parameters to start from ("coef", "intercept", "classes"); None: zeros, and
        the best intercept without features (the mean of y, or the log-odds of the
        classes). With classes, which a Result has, y may hold fewer of them.
    validation : float or (X, y) or (X, y, sample_weight) or path, optional
        Rows to measure the loss on after each epoch: a share of the rows in
        0 .. 1, drawn at random and not trained on (this copies the rows), or
        data of their own.
    seconds : float, optional
        Greater than 0: the wall-clock time that this call may take, preparing
        included. The learning rates are planned to fill it, from the speed as it is
        measured; with `validation` the result has the best parameters seen.
        The bits then depend on the time, with `Sync`, too, unless all of `epochs`
        fit.
    patience : int, optional
        At least 1, needs `validation`: the run ends after so many epochs without a
        lower validation loss, and the result has the parameters of the lowest.
    callbacks : sequence of functions
        Each is called with the `EpochRecord` after each epoch, in the calling
        thread while the workers rest; a true value ends the run, an exception ends
        it and is passed on.
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
    OSError
        When a file does not exist or cannot be read.
    InvalidSettingError
        When an argument is out of range or does not go with another.
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
    started = time.perf_counter()
    if not isinstance(model, Linear):
        raise InvalidSettingError(f"model must be ht.Linear(...), got {model!r}")
    chosen_strategy = parse_strategy(strategy)
    chosen_optimizer = parse_optimizer(optimizer)
    n_workers = _require_int("workers", usable_cores() if workers is None else workers, least=1)
    if epochs is None:
        epochs = _EPOCHS if seconds is None else _MOST_EPOCHS
    epochs = _require_int("epochs", epochs, least=1)
    _require_int("seed", seed, least=0)
    if seed >= 1 << 64:
        raise InvalidSettingError(f"seed must be below 2**64, got {seed}")
    if patience is not None and validation is None:
        raise InvalidSettingError("patience needs validation data: pass validation=0.1, or data")
    budget = None if seconds is None else Budget(seconds, started)
    keeps_best = validation is not None and (seconds is not None or patience is not None)
    stopping = Stopping(callbacks, patience, keeps_best=keeps_best)
    rows = _unpack(data, "data", n_workers)
    held_out = None
    if isinstance(validation, tuple | str | os.PathLike):
        held_out = _unpack(validation, "validation", n_workers, rows[0].n_features)
    elif validation is not None:
        rows, held_out = _split(*rows, validation, seed)
    problem, of_classes = _weighted(_problem(model, rows, _classes_of(init)), None, "data")
    checked = None
    if held_out is not None:
        checked = _problem(model, held_out, problem.classes)
        checked, _ = _weighted(checked, of_classes, "validation")
    if init is None:
        n_outputs = problem.n_classes or None
        zeros = np.zeros((n_outputs, rows[0].n_features) if n_outputs else rows[0].n_features)
        init = {"coef": zeros, "intercept": first_intercept(problem)}
    coef, intercept = _initial(init, problem)
    checked_at = time.perf_counter()
    plan = make_plan(
        problem,
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
    shown = Progress(progress, epochs, budget)
    job = Job(plan, epochs, checked, shown, stopping, budget)
    return job.run(coef, intercept)


def _require_int(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InvalidSettingError(f"{name} must be an int >= {least}, got {value!r}")
    if value < least:
        raise InvalidSettingError(f"{name} must be >= {least}, got {value}")
    return int(value)


_Data = tuple[Matrix, npt.NDArray[Any], npt.NDArray[Any] | None]


def _unpack(data: Any, name: str, threads: int, n_features: int | None = None) -> _Data:
    if isinstance(data, str | os.PathLike):
        X, y = read_data(data, n_features=n_features)
        if y is None:
            raise InvalidDataError(
                f"{name}: {os.fspath(data)} has no labels; put them beside it (NAME.y.npy for "
                "NAME.npz, y.npy in a directory)"
            )
        try:
            return _unpack((X, y), name, threads, n_features)
        except InvalidDataError as error:
            raise InvalidDataError(f"{os.fspath(data)}: {error}") from error
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise InvalidDataError(
            f"{name} must be a tuple (X, y) or (X, y, sample_weight) or a path, "
            f"got {type(data).__name__}"
            + (f" of length {len(data)}" if isinstance(data, tuple) else "")
        )
    matrix = canonical_rows(data[0], threads=threads, n_features=n_features)
    return matrix, data[1], data[2] if len(data) == 3 else None


def _problem(model: Linear, data: _Data, classes: npt.NDArray[Any] | None) -> Problem:
    matrix, y, weight = data
    weights = None if weight is None else sample_weights(weight, matrix.n_rows)
    if not model.is_classifier:
        return Problem(model, matrix, real_targets(y, matrix.n_rows), weights, None)
    targets, found = class_targets(y, matrix.n_rows, classes, loss=model.loss)
    return Problem(model, matrix, targets, weights, found)


def _weighted(
    problem: Problem, of_classes: npt.NDArray[np.float64] | None, name: str
) -> tuple[Problem, npt.NDArray[np.float64] | None]:
    """Multiply the weights of classes into those of rows; None: found from these rows."""
    model, weights = problem.model, problem.weights
    if model.class_weight is None or problem.classes is None:
        return problem, None
    targets = problem.targets
    numbers = (targets if problem.n_classes else targets > 0).astype(np.intp)
    if of_classes is None:
        of_classes = weights_of_classes(model.class_weight, problem.classes, numbers, weights)
    of_rows = weights_of_rows(of_classes, numbers, weights, name)
    return replace(problem, weights=sample_weights(of_rows, len(targets))), of_classes


def _split(matrix: Matrix, y: Any, weight: Any, share: Any, seed: int) -> tuple[_Data, _Data]:
    """Hold out a random share of the rows; the rest keep their order."""
    n_rows = matrix.n_rows
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    n_valid = round(n_rows * share) if is_number and math.isfinite(share) else 0
    if not 0 < n_valid < n_rows:
        raise InvalidSettingError(
            "validation must be a tuple of data, a path or a share of the rows that leaves rows on "
            f"both sides (0 < share < 1, {n_rows} rows), got {share!r}"
        )
    y = np.asarray(y)
    weight = None if weight is None else np.asarray(weight)
    for name, vector in (("y", y), ("sample_weight", weight)):
        if vector is not None and vector.shape[:1] != (n_rows,):
            raise InvalidDataError(
                f"{name} must have {n_rows} values, one for each row of X, got shape {vector.shape}"
            )
    is_valid = np.zeros(n_rows, np.bool_)
    is_valid[np.random.default_rng(seed).permutation(n_rows)[:n_valid]] = True

    def part(mask: npt.NDArray[np.bool_]) -> _Data:
        rows = matrix.take(mask)
        copied = (*rows.copied, "X: rows split from the validation rows")
        return replace(rows, copied=copied), y[mask], None if weight is None else weight[mask]

    return part(~is_valid), part(is_valid)


def _classes_of(init: Any) -> npt.NDArray[Any] | None:
    """Return the classes that parameters to start from were trained on; None: unknown."""
    classes = init.get("classes") if isinstance(init, dict) else getattr(init, "classes", None)
    return None if classes is None else np.asarray(classes)


def _initial(init: Any, problem: Problem) -> tuple[Floats, Any]:
    classes = problem.classes
    if isinstance(init, Result):
        if (classes is None) != (init.classes is None):
            raise InvalidDataError(
                f"init was trained on the classes {init.classes!r}, y holds {classes!r}"
            )
        init = init.params
    if not isinstance(init, dict) or "coef" not in init:
        raise InvalidSettingError(
            'init must be a Result or a dict with "coef" and "intercept", got '
            f"{type(init).__name__}"
        )
    n_features = problem.matrix.n_features
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = (n_features,), ()
    if problem.n_classes:
        shapes = (problem.n_classes, n_features), (problem.n_classes,)
    coef = np.array(init["coef"], dtype=np.float32)
    intercept = np.array(init.get("intercept", np.zeros(shapes[1])), dtype=np.float32)
    for name, array, shape in (("coef", coef, shapes[0]), ("intercept", intercept, shapes[1])):
        if array.shape != shape:
            raise InvalidSettingError(
                f'init["{name}"] must have shape {shape}, got shape {array.shape}'
            )
        if not np.isfinite(array).all():
            raise InvalidSettingError(
                f'init["{name}"] must be finite as float32, got values up to {np.abs(array).max()}'
            )
    if intercept.any() and not problem.model.fit_intercept:
        raise InvalidSettingError("init has an intercept, but fit_intercept is False")
    return coef, intercept if intercept.ndim else float(intercept)
