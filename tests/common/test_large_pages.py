"""Large vectors are allocated in large pages."""

from pathlib import Path

import pytest
import torch

from subspace_bench import projectors
from subspace_bench.common import large_pages
from subspace_bench.common.large_pages import LARGE, empty_in_large_pages

SYSTEM = Path("/sys/kernel/mm/transparent_hugepage")


def flags(address: int) -> list[str]:
    """The flags of this process's mapping that holds an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            start, stop = (int(part, 16) for part in head.split("-"))
            inside = start <= address < stop
        elif inside and head == "VmFlags:":
            return line.split()[1:]
    return []


@pytest.mark.skipif(not SYSTEM.exists(), reason="no large pages on this system")
@pytest.mark.parametrize("name", ["fastfood", "hashed", "kronecker", "regenerated", "srht"])
def test_a_large_theta_is_in_large_pages(name) -> None:
    projector = projectors.make(name, LARGE // 4, 16, seed=0)
    theta = projector(torch.ones(16))
    assert "hg" in flags(theta.data_ptr() + theta.nbytes // 2)


def test_small_memory_is_left_as_it_comes(monkeypatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(large_pages, "_advise_large_pages", lambda *of: asked.append(of))
    empty_in_large_pages(torch.empty(0), LARGE // 4 - 1)
    assert not asked
    large = empty_in_large_pages(torch.empty(0), LARGE // 4)
    assert asked == [(large.data_ptr(), large.data_ptr() + LARGE)]


@pytest.mark.parametrize("size", [1_000, LARGE // 4 + 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fresh_memory_is_what_was_asked_for(size, dtype) -> None:
    torch.ones(size, dtype=dtype)  # so that what is reused is not zero by chance
    tensor = empty_in_large_pages(torch.empty(0, dtype=dtype), 1, size, zero=True)
    assert tensor.shape == (1, size)
    assert tensor.dtype == dtype
    assert not tensor.any()


def test_other_devices_have_their_own_memory() -> None:
    assert empty_in_large_pages(torch.empty(0, device="meta"), LARGE).is_meta
