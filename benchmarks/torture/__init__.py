"""Is anything lost or wrong, whatever happens? `python -m benchmarks.torture` tries it.

Each module with a function `rows` is a campaign; `campaigns.py` lists them.
"""
