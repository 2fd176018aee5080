# SPDX-License-Identifier: BSD-3-Clause
"""Models: one file for each, and the losses."""
