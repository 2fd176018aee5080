# SPDX-License-Identifier: BSD-3-Clause
"""The one call that compares strategies."""

from __future__ import annotations

import itertools
import math
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from os import PathLike
from typing import Any

import numpy as np

from hybridtrain.arguments import MOST_SEED, plain, require_bool, require_int, shown
from hybridtrain.comparison.announcer import Announcer
from hybridtrain.comparison.compared_run import ComparedRun
from hybridtrain.comparison.compared_strategy import ComparedStrategy
from hybridtrain.comparison.comparison import Comparison
from hybridtrain.data.labelled import Labelled, hold_out
from hybridtrain.data.standardised import standardised
from hybridtrain.errors import (
    DataChangedError,
    DivergedError,
    InvalidDataError,
    InvalidSettingError,
    OutOfMemoryError,
)
from hybridtrain.machine import processor_name, usable_cores
from hybridtrain.models.linear import Linear, require_model
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan.penalties import allows_scaled_sparse
from hybridtrain.run.evaluate import auc
from hybridtrain.run.result import Result
from hybridtrain.settings import checked_settings
from hybridtrain.strategies.base import Strategy, takes_batch_size
from hybridtrain.strategies.parse import default_strategies, parse_strategy, strategy_name
from hybridtrain.training import train

_BASELINE = "hybrid"  # with one worker
_SHORT_SECONDS = 3.0  # all strategies once; shorter comparisons are repeated
_REPEATS = 5
_MOST_SEEDS = 1000
_REFUSALS = (InvalidSettingError, InvalidDataError, OutOfMemoryError)  # by one strategy
_Data = tuple[Any, ...]


def compare(
    model: Linear,
    data: tuple[Any, ...] | str | PathLike[str],
    *,
    strategies: Sequence[str | Strategy] | None = None,
    workers: int | None = None,
    epochs: int = 5,
    validation: float | tuple[Any, ...] | str | PathLike[str] = 0.1,
    optimizer: str | Optimizer = "sgd",
    batch_size: int | None = None,
    seed: int | None = None,
    seeds: Iterable[int] | None = None,
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
    strategies : sequence of str or strategy, optional
        Such as ``["sync", ht.Hybrid(every=4096)]``. None: `Async`, `Hogwild`, `Hybrid`,
        `LocalSGD` and `Sync`; `Hierarchical` and `Switch` run when named.
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
    seed : int, optional
        At least 0; None: 0.
    seeds : iterable of int, optional
        1 to 1,000 different seeds such as ``range(5)``, in place of `seed`: every strategy
        is trained with each. The table shows medians and bands, and the verdict says which
        strategies differ by more than their spread.
    baseline : bool
        Whether to run `Hybrid` with one worker first, which shows the gain of several
        workers. If there is only one worker, no run is added.
    repeats : int, optional
        Runs of each strategy and seed, in turns; the run of median time is kept. None: 5
        if there is one seed and all strategies together take less than 3 seconds, else 1.
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
        ``print(comparison)`` is a table; `best`, `verdict`, `to_frame`, `plot`, `save`.

    Raises
    ------
    InvalidDataError, InvalidSettingError
        As `train`. A strategy that refuses the settings or the data is left out with its
        reason, unless all do. A run that diverges raises no error: the table shows it.
    OutOfMemoryError
        As `train`, when no strategy's run fits into memory.
    WorkersDiedError
        As `train`, when no worker process of a run is left.
    TrainingInterrupted
        On Ctrl-C.

    Notes
    -----
    The rows are held once, and a second time if validation is a share of them
    or if they are not in the form that `train` reads in place. A share is drawn with the
    first seed: all seeds train and measure on the same rows, so that their spread is that
    of training alone. With each seed, all strategies run in turn: what slows the machine
    for a while slows all of them. The parameters of all runs are kept.

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
    run_seeds = check_comparison(
        strategies=strategies,
        workers=workers,
        epochs=epochs,
        validation=validation,
        optimizer=optimizer,
        batch_size=batch_size,
        seed=seed,
        seeds=seeds,
        repeats=repeats,
        scale=scale,
        backend=backend,
        timeout=timeout,
    )
    contenders = _contenders(strategies, workers, require_bool("baseline", baseline))
    if progress is not None:
        progress = require_bool("progress", progress)
    rows, measured = hold_out(model, data, validation, seed=run_seeds[0], threads=usable_cores())
    assert measured is not None
    held_out = _user_form(measured)
    allows_sparse = allows_scaled_sparse(model, parse_optimizer(optimizer))
    rows, measured = standardised(
        model, rows, measured, scale, allows_sparse=allows_sparse, threads=usable_cores()
    )
    # The copies were made once, here, and not in each run.
    rows = rows._replace(matrix=replace(rows.matrix, copied=()))
    announcer = Announcer(progress)

    def run(strategy: Strategy, n_workers: int, seed: int) -> ComparedRun:
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
    tries: list[list[list[ComparedRun]]] = [[[] for _ in run_seeds] for _ in contenders]
    refusals: dict[int, Exception] = {}

    def run_each(turn: str) -> None:
        """Run each strategy once with each seed; those of one seed are neighbours in time."""
        order = itertools.product(range(len(run_seeds)), range(len(contenders)))
        for place, (j, k) in enumerate(order, 1):
            (strategy, n_workers), same = contenders[k], tries[k][j]
            if k in refusals or any(one.diverged for one in same):
                continue
            of = f"{place} of {len(run_seeds) * len(contenders)}: {strategy_name(strategy)}"
            seed_too = f", seed: {shown(run_seeds[j])}" if len(run_seeds) > 1 else ""
            announcer.begin(f"{turn}{of}, workers: {shown(n_workers)}{seed_too}")
            try:
                same.append(run(strategy, n_workers, run_seeds[j]))
            except DataChangedError:
                raise  # the rows are no longer those of the other strategies
            except _REFUSALS as error:
                refusals[k] = error
        if len(refusals) == len(contenders):
            raise refusals[0]

    with closing(announcer):
        run_each("")
        if repeats is None:
            is_short = time.perf_counter() - started < _SHORT_SECONDS
            repeats = _REPEATS if is_short and len(run_seeds) == 1 else 1
        for turn in range(2, plain(repeats) + 1):
            run_each(f"run {turn} of {repeats}: ")
    compared = [
        ComparedStrategy(runs=tuple(map(_median, of_seeds)))
        for k, of_seeds in enumerate(tries)
        if k not in refusals
    ]
    reasons = [(strategy_name(contenders[k][0]), str(error)) for k, error in refusals.items()]
    return Comparison(
        strategies=tuple(compared),
        score_name=_score_name(compared[0].runs[0].result),
        repeats=repeats,
        data=_facts(_user_form(rows), held_out),
        machine=_machine(),
        left_out=tuple(dict.fromkeys(reasons)),
    )


def check_comparison(
    *,
    strategies: Sequence[str | Strategy] | None,
    validation: Any,
    batch_size: int | None,
    seed: int | None,
    seeds: Iterable[int] | None,
    repeats: int | None,
    **settings: Any,
) -> tuple[int, ...]:
    """Check arguments of `compare` before any data are read.

    Parameters
    ----------
    strategies, validation, batch_size, seed, seeds, repeats, **settings
        As for `compare`.

    Returns
    -------
    tuple of int
        The seeds of the runs, at least one.

    Raises
    ------
    InvalidSettingError
        When an argument is out of range whatever the data are.
    """
    run_seeds = _checked_seeds(seed, seeds)
    for strategy, _ in _contenders(strategies, 1, False):
        own = batch_size if takes_batch_size(strategy) else None
        checked_settings(strategy=strategy, validation=validation, batch_size=own, **settings)
    if repeats is not None:
        require_int("repeats", repeats, least=1)
    if validation is None:
        raise InvalidSettingError("validation must be a share of the rows or data, got None")
    return run_seeds


def _checked_seeds(seed: Any, seeds: Any) -> tuple[int, ...]:
    if seeds is None:
        return (require_int("seed", 0 if seed is None else seed, least=0, most=MOST_SEED),)
    if seed is not None:
        raise InvalidSettingError("seeds must be given without a seed, got both: choose one")
    expected = "seeds must be ints such as range(5)"
    try:
        given = list(itertools.islice(seeds, _MOST_SEEDS + 1))
    except TypeError as error:
        raise InvalidSettingError(f"{expected}, got {shown(seeds)}") from error
    if not given or isinstance(seeds, str | bytes):
        raise InvalidSettingError(f"{expected}, got {shown(seeds)}")
    if len(given) > _MOST_SEEDS:
        raise InvalidSettingError(f"seeds must be at most {_MOST_SEEDS:,} ints, got more")
    checked = tuple(
        require_int(f"seeds[{k}]", value, least=0, most=MOST_SEED) for k, value in enumerate(given)
    )
    if len(set(checked)) < len(checked):
        twice = next(seed for seed in checked if checked.count(seed) > 1)
        raise InvalidSettingError(f"seeds must differ from each other, got {twice} twice")
    return checked


def _contenders(
    strategies: Sequence[str | Strategy] | None, workers: int | None, baseline: bool
) -> list[tuple[Strategy, int]]:
    if strategies is None:
        strategies = default_strategies()
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
