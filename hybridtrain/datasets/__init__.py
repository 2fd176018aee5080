# SPDX-License-Identifier: BSD-3-Clause
"""Real data inside the package, ready to train on."""

from hybridtrain.datasets.flights import Flights, flights

__all__ = ["Flights", "flights"]
