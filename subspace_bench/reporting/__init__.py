"""Pages, their figures and their files."""

from __future__ import annotations

import os
import sys

# Figures are only saved. Jupyter and Colab name a backend in MPLBACKEND, for all processes that
# they start, and matplotlib does not import where that backend is not installed.
if "matplotlib" not in sys.modules:
    os.environ["MPLBACKEND"] = "agg"
