# SPDX-License-Identifier: BSD-3-Clause
"""Records of runs."""
