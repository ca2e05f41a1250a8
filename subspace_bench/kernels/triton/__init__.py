"""Kernels for CUDA in Triton. Tests run them on the CPU, with TRITON_INTERPRET=1."""

from contextlib import AbstractContextManager, nullcontext

import torch


def on_device(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """Launches go to the tensor's GPU, whatever the current one is."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
