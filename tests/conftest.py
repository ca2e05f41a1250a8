"""Small real digits for training tests, and quiet threads."""

from __future__ import annotations

import pytest
import torch

from subspace_bench.datasets import mnist


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a CUDA device where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def digits() -> mnist.Dataset:
    """The embedded 5,000 digits."""
    return mnist.load("mnist-5k")


@pytest.fixture(autouse=True)
def outside_nox(monkeypatch) -> None:
    """Messages name another command inside a nox session, where these tests may well run."""
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
