"""The skeleton of a page that needs nothing from the network."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from fit50.report.markup import element, text

_HARMLESS = str.maketrans({"&": "\\u0026", "<": "\\u003c", ">": "\\u003e"})


def page(
    heading: str, title: str, subtitle: str, sections: list[str], *, style: str = "", data: str = "", script: str = ""
) -> str:
    """A whole page.

    Args:
        heading: on top.
        title: of the window.
        subtitle: below the heading.
        sections: markup.
        style: the name of a style sheet beside the common one.
        data: JSON, kept in ``<script id="outcome">``.
        script: the name of a script; without one, the page allows none.
    """
    known = element("script", data.translate(_HARMLESS), type="application/json", id="outcome") + "\n" if data else ""
    run = f"<script>\n{_asset(script)}</script>\n" if script else ""
    return Template(_asset("page.html")).substitute(
        heading=text(heading),
        title=text(title),
        subtitle=text(subtitle),
        style=_asset("report.css") + (_asset(style) if style else ""),
        policy=" script-src 'unsafe-inline';" if script else "",
        sections="\n".join(sections),
        scripts=known + run,
    )


def section(name: str, heading: str, *content: str) -> str:
    """A section of markup under a heading."""
    return element("section", element("h2", heading), *content, id=name)


def paragraph(content: str) -> str:
    """A paragraph of plain text."""
    return element("p", text(content))


def _asset(name: str) -> str:
    return (files("fit50.report") / "assets" / name).read_text(encoding="utf-8")
