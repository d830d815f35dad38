"""The base of every value: frozen, strict about its fields, with errors that help."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fit50.spec.errors import SpecError


class Value(BaseModel):
    """A frozen value. Equal fields mean equal values; unknown fields are refused.

    ``read`` and ``write`` hold it as YAML or JSON. ``canonical`` is what identity is computed from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for name in data:
                if name not in cls.model_fields:
                    raise ValueError(f"unknown field {name!r}{suggestion(str(name), cls.model_fields)}")
        return data

    @classmethod
    def parse(cls, data: Any, source: str = "the given value") -> Self:
        """Validates plain data, raising SpecError with a line for each fault.

        Args:
            data: what YAML or JSON gave: mappings, lists and scalars.
            source: what to call the data in the error.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(describe(error, source)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a ``.json`` file as JSON and any other as YAML. Raises SpecError."""
        try:
            text = path.read_text(encoding="utf-8")
            data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise SpecError(f"{path}: expected a readable YAML or JSON file, found: {error}") from None
        return cls.parse(data, str(path))

    def canonical(self) -> dict[str, Any]:
        """Plain data with defaults left out; ``kind``, which tells alternatives apart, always stays."""
        return {
            name: _plain(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if name == "kind" or getattr(self, name) != field.get_default(call_default_factory=True)
        }

    def yaml(self) -> str:
        """The canonical data as YAML."""
        return yaml.safe_dump(self.canonical(), sort_keys=False, default_flow_style=None, width=120)


def _plain(item: Any) -> Any:
    match item:
        case Value():
            return item.canonical()
        case tuple() | list():
            return [_plain(element) for element in item]
        case dict():
            return {key: _plain(element) for key, element in item.items()}
        case Path():
            return str(item)
        case _:
            return item


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest of ``known``, or the list of them all."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def describe(error: ValidationError, source: str) -> str:
    """One readable line for each fault that pydantic found."""
    lines, faults = [], error.errors()
    for fault in faults:
        place = fault["loc"]
        within = (other["loc"][: len(place)] == place for other in faults if other is not fault)
        if fault["type"] == "too_short" and any(within):
            continue  # pydantic counts the elements that have no fault
        where = ".".join(str(part) for part in place)
        message = fault["msg"].removeprefix("Value error, ")
        found = "" if fault["type"] in {"missing", "value_error"} else f", found {fault['input']!r}"
        places = (source, where) if where != source else (source,)
        lines.append(": ".join(part for part in (*places, message + found) if part))
    return "\n".join(lines)
