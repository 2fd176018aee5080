# SPDX-License-Identifier: BSD-3-Clause
"""What is learned: one file for each model, and the losses."""
