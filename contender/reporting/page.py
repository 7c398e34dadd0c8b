"""A page of ours: its environment, and what stands in every one of them. No scripts, no network, every value escaped."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from contender.evaluation.latency import milliseconds
from contender.judging.words import points, value
from contender.noise import size
from contender.reporting.wording import rough, signed, tick
from contender.text import ACTING, escape_of, shorten, terminal_safe

NAME_LENGTH = 80  # characters of a label, a path or a value in a table
WORD_LENGTH = 30  # of a word in a sentence
TEXT_LENGTH = 2_000  # of anything else: no cell of the data makes a page that does not open
ACTING_RUN = re.compile(f"(?:{ACTING.pattern})+")


def render_page(template: str, **values: Any) -> str:
    """A page of ours: its own style, whose digest its policy names, and nothing else that a browser would load or run."""
    environment = _environment()
    style = environment.get_template("report.css").render()
    style_hash = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(style=Markup(style), style_hash=style_hash, **values)


def warm_up() -> None:
    """Compiles the templates: a part of a second that can pass while something else is waited for."""
    environment = _environment()
    for name in environment.list_templates(extensions=["html", "css"]):
        environment.get_template(name)


def templates(*, autoescape: bool, **options: Any) -> Environment:
    """The folder of templates, for pages and for Markdown, with the filters of numbers."""
    environment = Environment(
        loader=PackageLoader("contender.reporting"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
    environment.filters |= {
        "metric": lambda number, name: value(name, number),
        "signed": lambda number, name: signed(name, number),
        "count": lambda number: f"{number:,}",
    }
    return environment


@cache
def _environment() -> Environment:
    environment = templates(autoescape=True, finalize=_finalized)
    environment.filters |= {
        "shown": shown,
        "plain": terminal_safe,  # for a title, where no markup can stand
        "name": shown_name,
        "short": lambda text: shown(text, WORD_LENGTH),
        "points": points,
        "rough": rough,
        "size": lambda number, name: size(name, number),
        "tick": tick,
        "ms": milliseconds,
        "p": lambda number: "< 0.0001" if number < 1e-4 else f"{number:.2g}",
    }
    return environment


def _finalized(value: object) -> object:
    """What every expression of a template goes through: no text reaches a page as it is."""
    return _escaped(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def shown(text: object, length: int = TEXT_LENGTH) -> Markup:
    """Escaped text of that length at most, in which acting characters (controls, direction overrides) stand as marked escapes."""
    return _escaped(shorten(str(text), length))


def _escaped(raw: str) -> Markup:
    parts: list[Markup] = []
    plain = 0
    for found in ACTING_RUN.finditer(raw):
        escapes = "".join(escape_of(character) for character in found[0])
        parts += [escape(raw[plain : found.start()]), Markup("<code>{}</code>").format(escapes)]
        plain = found.end()
    return Markup("").join([*parts, escape(raw[plain:])])


def shown_name(text: object, length: int = NAME_LENGTH) -> Markup:
    """`shown` for what stands in a table or an axis."""
    return shown(text, length)
