from typing import Any

import numpy as np
import numpy.typing as npt

LOSSES: dict[str, int]
MAX_CLASSES: int
SOFTMAX_CURVATURE: float

def loss_sum(
    loss: int,
    z: npt.NDArray[Any],
    y: npt.NDArray[Any],
    weight: npt.NDArray[Any] | None,
    parameter: float = 0.0,
) -> float: ...
def loss_curvature(loss: int, parameter: float = 0.0) -> float: ...
def loss_has_minimum(loss: int) -> bool: ...
def sigmoid(z: npt.NDArray[np.float32], p: npt.NDArray[np.float32]) -> None: ...
def outputs(n_classes: int) -> int: ...
def softmax_sum(
    n_classes: int,
    z: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32] | None,
) -> float: ...
def softmax(n_classes: int, z: npt.NDArray[np.float32], p: npt.NDArray[np.float32]) -> None: ...
