"""Kernels for CUDA in Triton. Tests run them on the CPU, with TRITON_INTERPRET=1."""

import functools
import warnings
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

import torch


def on_device(tensor: torch.Tensor) -> AbstractContextManager[object]:
    """Launches go to the tensor's GPU, whatever the current one is."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


@functools.cache
def works() -> bool:
    """Whether Triton is installed and compiles a kernel here; if not, plain PyTorch is used.

    Triton needs a C compiler, which GPU images may lack; this warns once, with Triton's reason.
    """
    if find_spec("triton") is None:
        return False
    try:
        from .hadamard import transform_

        transform_(torch.zeros(2, device="cuda"))
    except Exception as failure:  # of many types, from Triton, its compiler or the driver
        reason = (str(failure).splitlines() or [""])[0]
        warnings.warn(
            f"Triton does not compile here ({type(failure).__name__}: {reason}): "
            "projectors on CUDA use plain PyTorch, which is slower",
            stacklevel=2,
        )
        return False
    return True
