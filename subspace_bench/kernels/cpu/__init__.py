"""Kernels for the CPU: numba functions around LLVM vectors of 16 lanes, on torch's own threads.

A kernel is called as `in_threads(kernel, *arrays, parts=n)`: it takes NumPy views of torch tensors
and does parts `first … last − 1`. Its results are the same bits for any number of threads.
Imports inside this folder are relative: `simd.jit` fingerprints the folder, wherever it lies.
"""
