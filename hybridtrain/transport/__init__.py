# SPDX-License-Identifier: BSD-3-Clause
"""Bytes between nodes."""
