from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain._core.point import Points
from hybridtrain._core.rows import Rows

MAX_TASK_ROWS: int
MAX_TASKS: int
MAX_STEPS: int
SCALE_COORDINATES: int

class SyncRun:
    n_parameters: int
    n_workers: int
    opened: int
    n_rates: int
    nbytes: int
    def __init__(
        self,
        rows: Rows,
        *,
        loss: int,
        n_classes: int,
        loss_parameter: float = 0.0,
        optimizer: int,
        l1: float,
        l2: float,
        decay1: float,
        decay2: float,
        beta: float,
        isa: int,
        n_workers: int,
        exact: bool,
        intercept: bool,
        seed: int,
        task_rows: int,
        batch_tasks: int,
        averages_per_epoch: int,
        lrs_per_epoch: int,
        lrs: npt.NDArray[np.float32],
        inverse_share: npt.NDArray[np.float32] | None,
        l1_factor: npt.NDArray[np.float32] | None = None,
        scales: npt.NDArray[np.float64] | None,
        largest_value: float,
        bound: float,
        is_bounded: bool,
        available: int | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    def load(self, parameters: npt.NDArray[np.float32]) -> None: ...
    def store(self, parameters: npt.NDArray[np.float32]) -> None: ...
    def steps_per_epoch(self) -> int: ...
    def set_rates(self, epoch: int, lrs: npt.NDArray[np.float32]) -> None: ...
    def begin(self, epoch: int) -> None: ...
    def resume(self) -> None: ...
    def await_rest(self, seconds: float) -> bool: ...
    def stop_epoch(self) -> None: ...
    def leave(self) -> None: ...
    def work(self, worker: int) -> None: ...
    def epoch_report(self) -> dict[str, Any]: ...
    def report(self, worker: int) -> dict[str, Any]: ...
    def claim(self, worker: int) -> int | None: ...
    def compute(self, worker: int, task: int) -> None: ...
    def commit(self, worker: int) -> bool: ...
    def merge_next(self, worker: int) -> bool: ...
    def await_work(self, worker: int) -> bool: ...
    def slow(self, worker: int, factor: float) -> None: ...
    def points(self) -> Points: ...
