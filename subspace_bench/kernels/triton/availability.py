"""Whether Triton's kernels can be used here; this module needs no Triton."""

import functools
import warnings
from importlib.util import find_spec

import torch


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
