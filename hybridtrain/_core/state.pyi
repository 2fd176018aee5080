from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

def sizes(run: object) -> tuple[int, int]: ...
def average_weight(n_iterates: int) -> float: ...
def save(
    run: object, arrays: npt.NDArray[np.float32], done: npt.NDArray[np.uint8]
) -> dict[str, Any]: ...
def restore(
    run: object,
    numbers: Mapping[str, Any],
    arrays: npt.NDArray[np.float32],
    done: npt.NDArray[np.uint8],
) -> None: ...
def replace(
    run: object,
    numbers: Mapping[str, Any],
    arrays: npt.NDArray[np.float32],
    *,
    first: int,
    last: int,
) -> None: ...
