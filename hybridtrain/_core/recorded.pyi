from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hybridtrain._core.stream import Stream

DIED: int

def snapshot_nbytes(run: Stream) -> int: ...

class RecordedStream(Stream):
    def drain(self) -> None: ...

class Replay:
    rows: int
    open_loss: float
    def __init__(self, run: Stream) -> None: ...
    def give(
        self, entries: Sequence[npt.NDArray[np.uint64]], snapshots: npt.NDArray[np.uint8]
    ) -> None: ...
    def go_on(self, rows: int | None = None) -> bool: ...
