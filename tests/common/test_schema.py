"""Schemas: what they accept, and that errors name the entry."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace_bench.common.schema import (
    OPEN,
    Count,
    Name,
    Natural,
    Percent,
    Sha256,
    parse_json,
    require,
)


@dataclass
class Inner:
    rate: float
    betas: tuple[float, float] = (0.9, 0.99)
    names: list[Name] = field(default_factory=list)


class Partial(TypedDict, total=False):
    note: str


class Outer(Partial):
    steps: Count
    accuracy: Percent | None
    inner: Inner
    kind: Literal["a", "b"]
    flag: NotRequired[bool]
    table: NotRequired[dict[str, Natural]]


GOOD: dict[str, Any] = {"steps": 3, "accuracy": 98, "inner": {"rate": 0.1}, "kind": "a"}


def with_inner(**values: Any) -> dict[str, Any]:
    return {**GOOD, "inner": {"rate": 0.1, **values}}


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        {**GOOD, "accuracy": None},
        {**GOOD, "accuracy": 0.0, "flag": True, "note": "", "table": {"x": 0}},
        with_inner(betas=[0, 1], names=["gaussian-bf16", "θ, a(b)"]),
    ],
)
def test_what_fits_is_accepted(value: Any) -> None:
    require(value, Outer, "it")


@pytest.mark.parametrize(
    "value, entry",
    [
        ([], "it"),
        ({}, "it"),
        ({**GOOD, "steps": 0}, "steps"),
        ({**GOOD, "steps": 1.0}, "steps"),
        ({**GOOD, "steps": True}, "steps"),
        ({**GOOD, "steps": 2**63}, "steps"),
        ({**GOOD, "accuracy": float("nan")}, "accuracy"),
        ({**GOOD, "accuracy": 100.01}, "accuracy"),
        ({**GOOD, "accuracy": 10**400}, "accuracy"),
        ({**GOOD, "accuracy": "98"}, "accuracy"),
        ({**GOOD, "kind": "c"}, "kind"),
        ({**GOOD, "kind": []}, "kind"),
        ({**GOOD, "flag": 1}, "flag"),
        ({**GOOD, "note": None}, "note"),
        ({**GOOD, "table": {"x": -1}}, "x"),
        ({**GOOD, "stepz": 1}, "stepz"),
        (with_inner(rate=None), "rate"),
        (with_inner(rate=10**400), "rate"),
        (with_inner(betas=[0.9]), "betas"),
        (with_inner(betas="ab"), "betas"),
        (with_inner(names=["<script>"]), "names"),
        (with_inner(names=["a\n"]), "names"),
        (with_inner(names="gaussian"), "names"),
        ({**GOOD, "inner": 3}, "inner"),
    ],
)
def test_what_does_not_fit_is_named(value: Any, entry: str) -> None:
    with pytest.raises(ValueError, match=entry) as failure:
        require(value, Outer, "it")
    assert len(str(failure.value)) < 200


def test_an_open_schema_may_have_further_entries() -> None:
    require({"note": "x", "more": [1]}, Annotated[Partial, OPEN], "it")
    with pytest.raises(ValueError, match="note"):
        require({"note": 3}, Annotated[Partial, OPEN], "it")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(JSON, st.sampled_from([Outer, Inner, Count, Percent, Sha256, list[Count], float | None]))
def test_any_data_is_accepted_or_a_value_error(value: Any, hint: Any) -> None:
    with contextlib.suppress(ValueError):
        require(value, hint, "it")


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', "[NaN]", "[-Infinity]", "", "{"])
def test_json_that_other_readers_would_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
