# SPDX-License-Identifier: BSD-3-Clause
"""One run, from a plan to a result."""
