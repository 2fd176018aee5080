# SPDX-License-Identifier: BSD-3-Clause
"""The settings of a run, with the checks that need no data."""

from __future__ import annotations

from typing import Any

from hybridtrain.arguments import MOST_SEED, plain, require_int, require_positive, shown
from hybridtrain.data.scaling import Scaling
from hybridtrain.errors import InvalidSettingError
from hybridtrain.machine import usable_cores
from hybridtrain.optimizers.base import Optimizer
from hybridtrain.optimizers.parse import parse_optimizer
from hybridtrain.plan.base import BACKENDS, Settings
from hybridtrain.run.budget import Budget
from hybridtrain.run.environment import instruction_set, process_start
from hybridtrain.run.stopping import Stopping
from hybridtrain.strategies.base import Strategy, check_batch_size, check_epochs
from hybridtrain.strategies.parse import parse_strategy

_EPOCHS = 5
_MOST_EPOCHS = 1000  # where the time decides


def checked_settings(
    *,
    strategy: str | Strategy = "hybrid",
    optimizer: str | Optimizer = "sgd",
    workers: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    validation: Any = None,
    seconds: float | None = None,
    patience: int | None = None,
    scale: str | Scaling | None = "auto",
    backend: str = "threads",
    timeout: float = 60.0,
) -> tuple[Strategy, Settings]:
    """Check arguments of `train` before any data are read.

    Parameters
    ----------
    strategy, optimizer, workers, epochs, batch_size, seed, validation, seconds, patience, scale,
    backend, timeout
        As for `train`.

    Returns
    -------
    strategy : Strategy
    settings : Settings

    Raises
    ------
    InvalidSettingError
        When an argument is out of range whatever the data are.
    """
    chosen_strategy = parse_strategy(strategy)
    chosen_optimizer = parse_optimizer(optimizer)
    n_workers = require_int("workers", usable_cores() if workers is None else workers, least=1)
    if epochs is None:
        epochs = _EPOCHS if seconds is None else _MOST_EPOCHS
    epochs = require_int("epochs", epochs, least=1)
    check_epochs(chosen_strategy, epochs)
    seed = require_int("seed", seed, least=0, most=MOST_SEED)
    if patience is not None and validation is None:
        raise InvalidSettingError("patience needs validation data: pass validation=0.1, or data")
    batch_size = plain(batch_size)
    check_batch_size(chosen_strategy, batch_size)
    if seconds is not None:
        Budget(seconds, 0.0)
    Stopping((), patience, keeps_best=False)
    is_word = isinstance(scale, str) and scale == "auto"
    if not (scale is None or is_word or isinstance(scale, Scaling)):
        raise InvalidSettingError(f'scale must be "auto" or None, got {shown(scale)}')
    return chosen_strategy, Settings(
        optimizer=chosen_optimizer,
        workers=n_workers,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        isa=instruction_set(),
        is_timed=seconds is not None,
        backend=_checked_backend(plain(backend)),
        start=process_start(),
        timeout=require_positive("timeout", timeout),
    )


def _checked_backend(backend: Any) -> str:
    if isinstance(backend, str) and backend in BACKENDS:
        return backend
    raise InvalidSettingError(f'backend must be "threads" or "processes", got {shown(backend)}')
