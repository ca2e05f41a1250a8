"""Fused inner loops: `cpu` in numba, `triton` for CUDA. They check nothing; their callers do."""
