"""Benchmarks of hybridtrain: one question per file, peers with their own best settings.

The package that is measured is the installed one: the project's folder goes to
the end of the path, where Python still finds this package but not the sources
of that one.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != _ROOT] + [str(_ROOT)]
