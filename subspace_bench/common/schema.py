"""Checks plain data, as parsed from a file, against type hints with ranges.

A schema is a TypedDict or a dataclass. `float` means finite, `int` fits 64 bits, and a key that the
schema does not name is an error:

    class Row(TypedDict):
        seed: Natural
        accuracy: Percent | None
        note: NotRequired[str]
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import reprlib
import sys
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin

LARGEST = 2**63 - 1  # of integers


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf

    def __call__(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}"


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Strings that match a regular expression as a whole."""

    regex: str

    def __call__(self, value: str) -> bool:
        return re.fullmatch(self.regex, value) is not None

    def __str__(self) -> str:
        return f"like {self.regex}"


OPEN = "open"  # Annotated[SomeTypedDict, OPEN] may have further keys

Count = Annotated[int, Range(1, LARGEST)]
Natural = Annotated[int, Range(0, LARGEST)]
Percent = Annotated[float, Range(0, 100)]
Fraction = Annotated[float, Range(0, 1)]
NonNegative = Annotated[float, Range(0, 1e300)]
Seconds = Annotated[float, Range(0, 1e10)]
Sha256 = Annotated[str, Pattern("[0-9a-f]{64}")]
# Names reach pages and figures: no markup, no math text, no control characters.
Name = Annotated[str, Pattern(r"[\w][\w .,:=+()/-]{0,99}")]

EXPECTED = {
    float: "a finite number",
    int: "an integer of 64 bits",
    str: "text",
    bool: "true or false",
}
Check = Callable[[Any, str], None]


def require(value: Any, hint: Any, name: str) -> None:
    """Checks a value.

    Arguments:
        hint: a TypedDict, a dataclass, or a type hint of plain data; tuples are lists of that
            length.
        name: of the value, in the message.

    Raises:
        ValueError: names the entry and what it should be.
    """
    _check(hint)(value, name)


def parse_json(text: str | bytes) -> Any:
    """Parses JSON; NaN, infinity and duplicate keys are errors.

    Raises:
        ValueError, RecursionError: if the text is no such JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            raise ValueError("a key occurs twice")
        return content

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def optional_keys(schema: Any) -> frozenset[str]:
    """The keys that data of this TypedDict or dataclass may lack."""
    if dataclasses.is_dataclass(schema):
        missing = dataclasses.MISSING
        return frozenset(
            f.name
            for f in dataclasses.fields(schema)
            if f.default is not missing or f.default_factory is not missing
        )
    marked = {key for key, hint in _hints(schema).items() if _is_not_required(hint)}
    return frozenset(marked | schema.__optional_keys__)  # those of a base with total=False


def keys(schema: Any) -> dict[str, Any]:
    """Key → hint of a TypedDict or dataclass."""
    return {
        key: get_args(hint)[0] if _is_not_required(hint) else hint
        for key, hint in _hints(schema).items()
    }


def _hints(schema: Any) -> dict[str, Any]:
    return typing.get_type_hints(schema, include_extras=True)


def _is_not_required(hint: Any) -> bool:
    return get_origin(hint) is NotRequired


def _wrong(value: Any, name: str, expected: str) -> ValueError:
    return ValueError(f"{name} is {reprlib.repr(value)}, not {expected}")


@functools.cache
def _check(hint: Any) -> Check:
    """The check of a hint, made once."""
    if typing.is_typeddict(hint) or dataclasses.is_dataclass(hint):
        return _check_keys(hint, open_=False)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *marks = arguments
        return _check_keys(base, open_=True) if OPEN in marks else _check_marks(base, marks)
    if origin in (Union, types.UnionType):
        return _check_union(arguments)
    if origin is list:
        return _check_list(arguments[0])
    if origin is tuple:
        return _check_tuple(arguments)
    if origin is dict:
        return _check_dict(arguments[1])
    return _ignore if hint is Any else _check_plain(hint)


def _ignore(value: Any, name: str) -> None:
    """`Any`."""


def _check_plain(hint: Any) -> Check:
    """Numbers, strings, truth values, None and Literal."""
    literal, accepts = get_origin(hint) is Literal, _plain_test(hint)
    expected = f"one of {', '.join(map(str, get_args(hint)))}" if literal else EXPECTED[hint]

    def check(value: Any, name: str) -> None:
        if not accepts(value):
            raise _wrong(value, name, expected)

    return check


def _plain_test(hint: Any) -> Callable[[Any], bool]:
    """Whether a value is accepted; as short as possible, because records have 100,000 numbers."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return lambda value: type(value) is type(choices[0]) and value in choices
    if hint is float:
        return lambda value: type(value) in (float, int) and abs(value) <= sys.float_info.max
    if hint is int:
        return lambda value: type(value) is int and abs(value) <= LARGEST
    return lambda value: type(value) is hint


def _check_marks(base: Any, marks: list[Any]) -> Check:
    check_base = _check(base)
    [mark] = marks

    def check(value: Any, name: str) -> None:
        check_base(value, name)
        if not mark(value):
            raise _wrong(value, name, str(mark))

    return check


def _check_union(alternatives: tuple[Any, ...]) -> Check:
    """`X | None`: the message of X counts."""
    [inner] = [_check(hint) for hint in alternatives if hint is not types.NoneType]

    def check(value: Any, name: str) -> None:
        if value is not None:
            inner(value, name)

    return check


def _check_list(item: Any) -> Check:
    check_item = _check(item)

    def check(value: Any, name: str) -> None:
        if type(value) is not list:
            raise _wrong(value, name, "a list")
        for each in value:
            check_item(each, name)

    return check


def _check_tuple(items: tuple[Any, ...]) -> Check:
    checks = [_check(item) for item in items]

    def check(value: Any, name: str) -> None:
        if type(value) is not list or len(value) != len(checks):
            raise _wrong(value, name, f"a list of {len(checks)}")
        for each, check_each in zip(value, checks, strict=True):
            check_each(each, name)

    return check


def _check_dict(item: Any) -> Check:
    check_item = _check(item)

    def check(value: Any, name: str) -> None:
        if type(value) is not dict:
            raise _wrong(value, name, "a table")
        for key, each in value.items():
            check_item(each, f"{name}.{key}")

    return check


def _check_keys(schema: Any, open_: bool) -> Check:
    checks = {key: _check(hint) for key, hint in keys(schema).items()}
    required = checks.keys() - optional_keys(schema)

    def check(value: Any, name: str) -> None:
        if type(value) is not dict:
            raise _wrong(value, name, "a table")
        if lacking := sorted(required - value.keys()):
            raise ValueError(f"{name} lacks {lacking[0]!r}")
        for key, each in value.items():
            if key in checks:
                checks[key](each, key)
            elif not open_:
                raise ValueError(f"{name} has an unknown entry {reprlib.repr(key)}")

    return check
