# SPDX-License-Identifier: BSD-3-Clause
"""Dense rows as users have them, read in float64, a few at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hybridtrain.data.arrays import Doubles
from hybridtrain.data.pandas_frames import is_frame

_BLOCK_ELEMENTS = 1 << 16  # that stay in a core's cache


@dataclass(frozen=True, slots=True)
class ExactRows:
    """Hold a user's dense rows, before they are rounded to float32.

    Attributes
    ----------
    source : array or pandas frame (n_source_rows, n_features)
        The user's own object, not a copy.
    ids : int array (n_rows,) or None
        The rows of `source` that are meant, in order; None: all.
    """

    source: Any
    ids: npt.NDArray[np.intp] | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.source) if self.ids is None else len(self.ids)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.source.shape[1])

    @property
    def is_converted(self) -> bool:
        """Whether rows of float32 must be a copy of these: they have other types."""
        types = self.source.dtypes if is_frame(self.source) else [self.source.dtype]
        return any(dtype != np.float32 for dtype in types)

    @property
    def block_rows(self) -> int:
        """Rows to read at a time."""
        return max(_BLOCK_ELEMENTS // self.n_features, 1)

    def read(self, first: int, last: int) -> Doubles:
        """Return rows first .. last-1, in an array of the caller's own."""
        return self.read_some(slice(first, last) if self.ids is None else self.ids[first:last])

    def read_some(self, which: Any) -> Doubles:
        """Return rows of the source, by their numbers there."""
        if is_frame(self.source):
            return np.array(self.source.iloc[which].to_numpy(dtype=np.float64), order="C")
        return np.array(self.source[which], dtype=np.float64, order="C")

    def take(self, which: npt.NDArray[Any] | slice) -> ExactRows:
        """Return some of the rows, without reading them.

        Parameters
        ----------
        which : bool array (n_rows,), int array or slice
        """
        ids = np.arange(self.n_rows) if self.ids is None else self.ids
        return ExactRows(self.source, ids[which])

    def whole(self) -> Any:
        """Return the rows in the user's form; the user's own object if all rows are meant."""
        if self.ids is None:
            return self.source
        return self.source.iloc[self.ids] if is_frame(self.source) else self.source[self.ids]
