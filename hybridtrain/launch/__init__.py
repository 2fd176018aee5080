# SPDX-License-Identifier: BSD-3-Clause
"""Processes that train as a part of something larger."""
