# SPDX-License-Identifier: BSD-3-Clause
"""The last epochs of a run that patience ends: the learning rate falls to 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

_SHARE = 1.0 / 5.0  # of the epochs so far
# Of the fall. Against 100 epochs, up to 0.8 % more loss was left; with 8 it was 1.3 %, with 1 3 %.
_LEAST_EPOCHS = 16
_NEAR_ZERO = 1.0 / 100.0  # of the first rate: what a fall would still gain is not worth its epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class Cooling:
    """Lower the learning rate in a straight line to 0, from the middle of a run to its end.

    While the rate is high, the validation loss goes up and down with the noise of single
    rows. So epochs without a lower one do not show that training is done, and the
    parameters of such an epoch are worse than those of a run whose rate has fallen.

    Parameters
    ----------
    begins : int
        The epochs before the fall.
    share : float
        The rate before the fall, as a share of the first rate.
    """

    begins: int
    share: float

    def factor(self, epochs: float, total: float) -> float:
        """Return ``share (total - t) / (total - begins)``; before the fall `share`."""
        return self.share * min((total - epochs) / (total - self.begins), 1.0)

    @property
    def is_needed(self) -> bool:
        """Whether the rate is not near 0 yet."""
        return self.share > _NEAR_ZERO

    @property
    def ends(self) -> int:
        """The epochs of the run, unless it ends earlier for another reason."""
        return self.begins + max(math.ceil(_SHARE * self.begins), _LEAST_EPOCHS)
