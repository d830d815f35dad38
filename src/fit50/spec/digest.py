"""Identity, difference and editing of values, by dotted path."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import yaml

from fit50.spec.errors import SpecError
from fit50.spec.value import Value, suggestion

V = TypeVar("V", bound=Value)


def digest(value: Value) -> str:
    """The SHA-256 of the canonical JSON, in hexadecimal. Defaults do not count, so a new field keeps old digests."""
    text = json.dumps(value.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Change(NamedTuple):
    """One difference: a dotted path, and what stands there in the old and in the new value (None: nothing)."""

    path: str
    old: Any
    new: Any


def diff(old: Value, new: Value) -> tuple[Change, ...]:
    """Every path at which two values differ, in the order of their fields."""
    return tuple(_changes("", old.model_dump(), new.model_dump()))


def _changes(path: str, old: Any, new: Any) -> list[Change]:
    match old, new:
        case dict(), dict():
            keys = [*old, *(key for key in new if key not in old)]
            return [c for key in keys for c in _changes(f"{path}.{key}".lstrip("."), old.get(key), new.get(key))]
        case ((tuple() | list()), (tuple() | list())):
            padded = max(len(old), len(new))
            pairs = [(i, old[i] if i < len(old) else None, new[i] if i < len(new) else None) for i in range(padded)]
            return [change for i, a, b in pairs for change in _changes(f"{path}[{i}]", a, b)]
        case _:
            return [] if old == new else [Change(path, old, new)]


_PART = re.compile(r"\.?([A-Za-z_][\w-]*)|\[(\d+|\*)\]")


def _parts(path: str) -> list[str | int]:
    """``stages[*].name`` as ``["stages", "*", "name"]``; indices become integers."""
    parts: list[str | int] = []
    position = 0
    while position < len(path):
        match = _PART.match(path, position)
        if match is None:
            raise SpecError(
                f"{path!r}: expected a path such as stages[*].blocks[0].attention, stuck at {path[position:]!r}"
            )
        name, index = match.groups()
        parts.append(name or (index if index == "*" else int(index)))
        position = match.end()
    return parts


def edit(value: V, path: str, new: Any) -> V:
    """A copy of ``value`` with ``new`` at ``path``; ``[*]`` stands for every element of a list.

    ``new`` is plain data or a Value. Raises SpecError where the path leads nowhere or the result is no valid value.
    """
    return edit_all(value, ((path, new),))


def edit_all(value: V, edits: Iterable[tuple[str, Any]]) -> V:
    """Several edits in a row, of which only the last result must be valid: two fields may need each other."""
    data, paths = value.model_dump(), []
    for path, new in edits:
        if not path:
            raise SpecError("expected a path such as stages[*].blocks[*].attention, found an empty one")
        data = _replaced(data, _parts(path), new.model_dump() if isinstance(new, Value) else new, path)
        paths.append(path)
    return type(value).parse(data, ", ".join(paths)) if paths else value


def _replaced(data: Any, parts: list[str | int], new: Any, path: str) -> Any:
    """``data`` with ``new`` at the path that ``parts`` spell; containers on the way are copied."""
    if not parts:
        return new
    part, *rest = parts
    match data, part:
        case dict(), str() if part in data:
            return {**data, part: _replaced(data[part], rest, new, path)}
        case dict(), _:
            place = "" if path == part else f"{path!r}: "
            raise SpecError(f"{place}unknown field {part!r}{suggestion(str(part), data)}")
        case ((tuple() | list()), "*"):
            return [_replaced(element, rest, new, path) for element in data]
        case ((tuple() | list()), int()) if part < len(data):
            return [_replaced(element, rest, new, path) if i == part else element for i, element in enumerate(data)]
        case ((tuple() | list()), _):
            raise SpecError(f"{path!r}: expected [*] or an index below {len(data)}, found {part!r}")
        case _:
            raise SpecError(f"{path!r}: nothing lies below {data!r}, where {part!r} is asked for")


def scalar(text: str) -> Any:
    """What a command-line word says, read as YAML: ``0.5`` a number, ``null`` None, ``{kind: se}`` a mapping."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{text!r}: expected a YAML value, found: {error}") from None
