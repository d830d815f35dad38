"""Elements of SVG and HTML from plain text, everything escaped."""

from __future__ import annotations

import re
from html import escape

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def text(content: object) -> str:
    """``content`` as text that is safe between tags and inside quoted attributes, in XML as in HTML."""
    return escape(_UNPRINTABLE.sub("\ufffd", str(content)))


def element(name: str, *content: str, **attributes: str | float) -> str:
    """An element around ``content``, which is markup already.

    Attributes are plain text: ``class_`` gives ``class``, ``stroke_width`` gives ``stroke-width``.
    """
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"' for key, value in attributes.items())
    return f"<{name}{pairs}>{''.join(content)}</{name}>"


def number(value: float) -> str:
    """At most two decimals, without trailing zeros."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def shorten(name: str, length: int) -> str:
    """``name`` in at most ``length`` characters, cut in the middle: names differ at their ends."""
    if len(name) <= length:
        return name
    tail = length // 2
    return f"{name[: length - tail - 1]}…{name[-tail:]}"


def _attribute(value: str | float) -> str:
    return text(value) if isinstance(value, str) else number(value)
