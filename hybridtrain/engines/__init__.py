# SPDX-License-Identifier: BSD-3-Clause
"""Nodes on clusters that people already run: an engine places them, and starts them again."""
