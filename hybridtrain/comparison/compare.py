# SPDX-License-Identifier: BSD-3-Clause
"""The one call that compares strategies."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from os import PathLike
from typing import Any

import numpy as np

from hybridtrain.arguments import plain, require_bool, require_int, shown
from hybridtrain.comparison.compared_run import ComparedRun
from hybridtrain.comparison.comparison import Comparison
from hybridtrain.data.labelled import Labelled, hold_out
from hybridtrain.data.standardised import standardised
from hybridtrain.errors import DivergedError, InvalidDataError, InvalidSettingError
from hybridtrain.machine import processor_name, usable_cores
from hybridtrain.models.linear import Linear, require_model
from hybridtrain.observe.records import EpochRecord
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan.penalties import allows_scaled_sparse
from hybridtrain.run.evaluate import auc
from hybridtrain.run.progress import is_terminal, tell
from hybridtrain.run.result import Result
from hybridtrain.settings import checked_settings
from hybridtrain.strategies.base import Strategy, takes_batch_size
from hybridtrain.strategies.parse import parse_strategy, strategy_name
from hybridtrain.training import train

_BASELINE = "hybrid"  # with one worker
_SHORT_SECONDS = 3.0  # all strategies once; shorter comparisons are repeated
_REPEATS = 5
_QUIET_SECONDS = 1.0
_BLINK_SECONDS = 0.1
_Data = tuple[Any, ...]


def compare(
    model: Linear,
    data: tuple[Any, ...] | str | PathLike[str],
    *,
    strategies: Sequence[str | Strategy] = ("sync", "hogwild", "hybrid"),
    workers: int | None = None,
    epochs: int = 5,
    validation: float | tuple[Any, ...] | str | PathLike[str] = 0.1,
    optimizer: str | Optimizer = "sgd",
    batch_size: int | None = None,
    seed: int = 0,
    baseline: bool = False,
    repeats: int | None = None,
    scale: str | None = "auto",
    backend: str = "threads",
    timeout: float = 60.0,
    progress: bool | None = None,
) -> Comparison:
    """Train the same model with several strategies, one after the other.

    Parameters
    ----------
    model : Linear
        What to learn.
    data : (X, y) or (X, y, sample_weight), or path
        As for `train`. The data are checked once and split once for all strategies.
    strategies : sequence of str or strategy
        Such as ``["sync", ht.Hybrid(every=4096)]``.
    workers : int, optional
        Threads or processes that train; None: the usable cores.
    epochs : int
        At least 1, for every strategy.
    validation : float or (X, y) or (X, y, sample_weight) or path
        A share of the rows, drawn as for `train`, or separate data.
    optimizer : str or optimizer
        As for `train`. `lr="auto"` is chosen for each strategy.
    batch_size : int, optional
        For `Sync`; other strategies step on one row.
    seed : int
        At least 0.
    baseline : bool
        Whether to run `Hybrid` with one worker first, which shows the gain of several
        workers. If there is only one worker, no run is added.
    repeats : int, optional
        Runs of each strategy, in turns; the run of median time is kept. None: 5
        if all strategies together take less than 3 seconds, else 1.
    scale : "auto" or None
        As for `train`; decided once for all strategies.
    backend : "threads" or "processes"
        As for `train`. A run whose processes die goes on; a note says how many died.
    timeout : float
        Seconds, greater than 0; as for `train`.
    progress : bool, optional
        None or True: a comparison that takes longer than a second shows its progress
        on standard error; False: never.

    Returns
    -------
    Comparison
        ``print(comparison)`` is a table; `best`, `verdict`, `plot`, `save`.

    Raises
    ------
    InvalidDataError, InvalidSettingError
        As `train`. A strategy that does not go with the settings is left out, unless no
        strategy does. A run that diverges raises no error: the table shows it.
    WorkersDiedError
        As `train`, when no worker process of a run is left.
    TrainingInterrupted
        On Ctrl-C.

    Notes
    -----
    The rows are held once, and a second time if validation is a share of them
    or if they are not in the form that `train` reads in place.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, hybridtrain as ht
    >>> X = sp.random(1000, 50, density=0.2, format="csr", dtype=np.float32, random_state=0)
    >>> y = np.asarray(X[:, :5].sum(axis=1)).ravel() > 0.5
    >>> comparison = ht.compare(ht.Linear(), (X, y), strategies=["sync", "hybrid"], workers=1)
    >>> comparison.best in comparison.runs
    True
    """
    require_model(model)
    check_comparison(
        strategies=strategies,
        workers=workers,
        epochs=epochs,
        validation=validation,
        optimizer=optimizer,
        batch_size=batch_size,
        seed=seed,
        repeats=repeats,
        scale=scale,
        backend=backend,
        timeout=timeout,
    )
    contenders = _contenders(strategies, workers, require_bool("baseline", baseline))
    if progress is not None:
        progress = require_bool("progress", progress)
    rows, measured = hold_out(model, data, validation, seed=seed, threads=usable_cores())
    assert measured is not None
    held_out = _user_form(measured)
    allows_sparse = allows_scaled_sparse(model, parse_optimizer(optimizer))
    rows, measured = standardised(
        model, rows, measured, scale, allows_sparse=allows_sparse, threads=usable_cores()
    )
    # The copies were made once, here, and not in each run.
    rows = rows._replace(matrix=replace(rows.matrix, copied=()))
    announcer = _Announcer(progress)

    def run(strategy: Strategy, n_workers: int) -> ComparedRun:
        try:
            result = train(
                model,
                rows,
                strategy=strategy,
                optimizer=optimizer,
                workers=n_workers,
                epochs=epochs,
                batch_size=batch_size if takes_batch_size(strategy) else None,
                seed=seed,
                validation=measured,
                scale=scale,
                backend=backend,
                timeout=timeout,
                callbacks=[announcer.epoch],
                progress=False,
            )
        except DivergedError as error:
            said = f"the loss {error.what} in epoch {error.epoch} at learning rate {error.lr:.4g}"
            return ComparedRun(
                strategy=strategy, result=error.result, score=math.nan, diverged=said
            )
        return ComparedRun(strategy=strategy, result=result, score=_score(result, held_out))

    started = time.perf_counter()
    runs: list[list[ComparedRun]] = []
    left_out: list[tuple[str, str]] = []
    first_refusal: InvalidSettingError | None = None
    with closing(announcer):
        for k, (strategy, n_workers) in enumerate(contenders, 1):
            name = strategy_name(strategy)
            announcer.begin(f"{k} of {len(contenders)}: {name}, workers: {shown(n_workers)}")
            try:
                runs.append([run(strategy, n_workers)])
            except InvalidSettingError as error:
                first_refusal = first_refusal or error
                refused = (strategy_name(strategy), str(error))
                left_out += [refused] if refused not in left_out else []
        if not runs:
            assert first_refusal is not None
            raise first_refusal
        if repeats is None:
            repeats = _REPEATS if time.perf_counter() - started < _SHORT_SECONDS else 1
        for turn in range(2, plain(repeats) + 1):
            announcer.begin(f"run {turn} of {repeats}")
            for same in runs:
                if not any(one.diverged for one in same):
                    same.append(run(same[0].strategy, same[0].workers))
    return Comparison(
        runs=tuple(_median(same) for same in runs),
        score_name=_score_name(runs[0][0].result),
        repeats=repeats,
        data=_facts(_user_form(rows), held_out),
        machine=_machine(),
        left_out=tuple(left_out),
    )


def check_comparison(
    *,
    strategies: Sequence[str | Strategy],
    validation: Any,
    batch_size: int | None,
    repeats: int | None,
    **settings: Any,
) -> None:
    """Check arguments of `compare` before any data are read.

    Parameters
    ----------
    strategies, validation, batch_size, repeats, **settings
        As for `compare`.

    Raises
    ------
    InvalidSettingError
        When an argument is out of range whatever the data are.
    """
    for strategy, _ in _contenders(strategies, 1, False):
        own = batch_size if takes_batch_size(strategy) else None
        checked_settings(strategy=strategy, validation=validation, batch_size=own, **settings)
    if repeats is not None:
        require_int("repeats", repeats, least=1)
    if validation is None:
        raise InvalidSettingError("validation must be a share of the rows or data, got None")


def _contenders(
    strategies: Sequence[str | Strategy], workers: int | None, baseline: bool
) -> list[tuple[Strategy, int]]:
    is_list = isinstance(strategies, Sequence) and not isinstance(strategies, str | bytes)
    if not is_list or not strategies:
        raise InvalidSettingError(
            'strategies must be a list such as ["sync", ht.Hybrid(every=4096)], got '
            f"{shown(strategies)}"
        )
    n_workers = require_int("workers", usable_cores() if workers is None else workers, least=1)
    parsed = [(parse_strategy(strategy), n_workers) for strategy in strategies]
    first = (parse_strategy(_BASELINE), 1)
    return [first, *parsed] if baseline and first not in parsed else list(parsed)


def _user_form(rows: Labelled) -> _Data:
    """Return rows as a user has them."""
    matrix, y, weight = rows[:3]
    X = matrix.user_form() if matrix.exact is None else matrix.exact.whole()
    return (X, y) if weight is None else (X, y, weight)


def _score_name(result: Result) -> str:
    if result.classes is None:
        return "R^2"
    return "AUC" if len(result.classes) == 2 else "accuracy"


def _score(result: Result, held_out: _Data) -> float:
    X, y, weight = (*held_out, None)[:3]
    try:
        if _score_name(result) != "AUC":
            return result.score(X, y, weight)
    except InvalidDataError:  # R^2 of equal targets
        return math.nan
    assert result.classes is not None
    z = result.decision_function(X)
    margin = z if z.ndim == 1 else z[:, 1] - z[:, 0]
    return auc(margin, np.asarray(y) == result.classes[1], weight)


def _median(same: list[ComparedRun]) -> ComparedRun:
    for one in same:
        if one.diverged:
            return one
    return sorted(same, key=lambda one: one.seconds)[(len(same) - 1) // 2]


def _facts(trained: _Data, held_out: _Data) -> dict[str, int]:
    X = trained[0]
    facts = {"rows": X.shape[0], "validation_rows": held_out[0].shape[0], "features": X.shape[1]}
    return facts | ({"elements": X.nnz} if hasattr(X, "nnz") else {})


def _machine() -> dict[str, Any]:
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("hybridtrain", "numpy", "scipy")},
    }


class _Announcer:
    """Show the current run on standard error, if it takes longer than a second."""

    def __init__(self, show: bool | None) -> None:
        self._show = show is not False
        self._is_terminal = is_terminal()
        self._last = time.monotonic()
        self._what = ""
        self._open = False

    def begin(self, what: str) -> None:
        """Name the run that begins."""
        self._what = what
        self._say(what)

    def epoch(self, record: EpochRecord) -> None:
        """Show an epoch of the current run; a callback of `train`."""
        self._say(
            f"{self._what}: epoch {record.epoch}, validation loss {record.validation_loss:.5f}"
        )

    def _say(self, text: str) -> None:
        """Write at most a line a second; on a terminal, rewrite one line more often."""
        now = time.monotonic()
        if not self._show or now - self._last < (_BLINK_SECONDS if self._open else _QUIET_SECONDS):
            return
        self._last = now
        start, end = ("\r\x1b[K", "") if self._is_terminal else ("", "\n")
        self._show = tell(f"{start}{text}", end=end)
        self._open = self._show and self._is_terminal

    def close(self) -> None:
        """Clear the line."""
        if self._open:
            tell("\r\x1b[K", end="")
            self._open = False
