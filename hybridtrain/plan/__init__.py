# SPDX-License-Identifier: BSD-3-Clause
"""Decisions before a run starts; they know the loops, not the strategies."""
