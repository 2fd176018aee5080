# SPDX-License-Identifier: BSD-3-Clause
"""Strategies side by side."""
