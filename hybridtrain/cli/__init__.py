# SPDX-License-Identifier: BSD-3-Clause
"""The command line."""

from hybridtrain.cli.entry import main

__all__ = ["main"]
