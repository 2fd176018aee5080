# SPDX-License-Identifier: BSD-3-Clause
"""What is decided before a run starts; knows the loops, not the strategies."""
