"""A page: what it shows, and how that becomes one HTML file."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from keomni_rl.errors import DataError
from keomni_rl.observe.report.figures import Drawn
from keomni_rl.observe.report.sounds import Sounds


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page shows; its template says where."""

    template: str
    title: str
    kind: str
    """What it is a page of."""
    settings: Sequence[tuple[str, str]]
    """Names and values, for the head."""
    figures: Sequence[Drawn]
    sounds: Sounds
    content: Mapping[str, Any]
    """The template's own variables."""
    notes: Sequence[str] = field(default=())
    """What a reader should know first."""


def write_page(page: Page, path: Path) -> None:
    """Write a page as one file; until it is whole, the one before it stays.

    Raises:
        DataError: the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keomni_rl.observe"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = as_json
    text = environment.get_template(page.template).render(
        page=page,
        nonce=secrets.token_urlsafe(12),
        plotly=Markup(get_plotlyjs()) if page.figures else None,
        **page.content,
    )
    aside = path.with_name(f".{path.name}.partial")
    try:
        aside.write_text(text, encoding="utf-8", errors="replace")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DataError(
            f"{path}: the report cannot be written ({error.strerror}); give another --out"
        ) from error


def as_json(value: Any) -> Markup:
    """JSON for a script element: nothing in it can end the element."""
    text = json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
