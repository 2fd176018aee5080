# SPDX-License-Identifier: BSD-3-Clause
"""From what users have to rows that the core reads."""
