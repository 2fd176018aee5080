# SPDX-License-Identifier: BSD-3-Clause
"""How a gradient becomes a step: one file for each optimizer."""
