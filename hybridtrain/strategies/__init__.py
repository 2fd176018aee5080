# SPDX-License-Identifier: BSD-3-Clause
"""Strategies, which decide when and how workers merge: one file for each."""
