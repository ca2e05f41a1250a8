"""What an index.html without any results shows, and a name that tries to run a script."""

from __future__ import annotations

from typing import Any

import pandas as pd

EVIL = "</td></script><script>alert(1)</script><img src=x onerror=alert(1)>"
VALUES: dict[str, Any] = {
    "source": {"title": "T", "citation": "C", "date": pd.Timestamp("2017-10-30")},
    "question": "Q?",
    "answer": [{"ours": "1", "trained": "2", "post": "3"}],
    "reproduced": "1 of 1",
    "counts": "1 of 1",
    "sentences": "1",
    "claims": "1 holds",
    "notices": [],
}
DATA: dict[str, Any] = {"answer": [], "curves": [], "projectors": [], "records": []}
