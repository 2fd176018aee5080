# SPDX-License-Identifier: BSD-3-Clause
"""``python -m hybridtrain``."""

import sys

from hybridtrain.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
