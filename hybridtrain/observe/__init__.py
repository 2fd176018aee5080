# SPDX-License-Identifier: BSD-3-Clause
"""What a run tells about itself."""
