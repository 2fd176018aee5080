# SPDX-License-Identifier: BSD-3-Clause
"""When and how workers merge: one file for each strategy."""
