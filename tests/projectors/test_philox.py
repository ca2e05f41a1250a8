"""Philox against the known answers of its authors; test_regenerated.py tests its normals."""

from __future__ import annotations

import torch

from subspace_bench.projectors import philox


def test_words_are_those_of_the_authors() -> None:
    """The first and the last known answers for philox4x32-10 of Random123 (kat_vectors)."""
    zero = torch.zeros(1, dtype=torch.int64)
    assert [hex(w.item()) for w in philox.words((0, 0), zero)] == [
        "0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8",
    ]  # fmt: skip
    pi = [torch.tensor([c]) for c in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)]
    assert [hex(w.item()) for w in philox.words((0xA4093822, 0x299F31D0), *pi)] == [
        "0xd16cfe09", "0x94fdcceb", "0x5001e420", "0x24126ea1",
    ]  # fmt: skip


def test_the_smallest_and_the_largest_words_give_finite_numbers() -> None:
    ends = torch.tensor([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
    a, b = torch.meshgrid(ends, ends, indexing="ij")
    for z in philox.normal_pair(a, b):
        assert z.isfinite().all()
        assert z.abs().max() < 6.8
