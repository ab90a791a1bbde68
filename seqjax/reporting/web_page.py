"""Pages of results: one HTML file that needs nothing beside it and no network.

Templates, style and script are in `web/`. Plots are drawn by plotly.js, tables are sorted and
searched by DataTables. Both come with Python packages and are kept inside the page, compressed:
2.2 MB.
"""

import base64
import functools
import gzip
import importlib.resources
import math
import re
from typing import Any

from seqjax.files import replace_file

# What plotly.js draws: `data`, `layout`, and what the page itself needs to know, see `figure`.
Figure = dict[str, Any]
# Longer texts get room in a table, and may be broken.
LONG = 20
_ACRONYMS = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER"}


def figure(
    title: str,
    data: list[dict[str, Any]],
    layout: dict[str, Any],
    toggles: str = "",
    height: int = 380,
    least_width: int = 0,
    note: str = "",
) -> Figure:
    """Returns a plot for a page.

    Args:
      title: its heading.
      data: traces of plotly.js. The page links a trace to a trial by its `meta`, a point by its
        `customdata`.
      layout: of plotly.js. The page adds margins and the colours of the reader's theme.
      toggles: the axes that may become logarithmic, '', 'x', 'y' or 'xy'.
      height: in pixels.
      least_width: in pixels; on a narrower screen the plot scrolls.
      note: a sentence below the heading.
    """
    return {
        "title": title,
        "note": note,
        "toggles": toggles,
        "height": height,
        "least_width": least_width,
        "plot": _finite({"data": data, "layout": layout}),
    }


def titled(metric: str) -> str:
    """Returns a metric's name as a heading: 'exact_match' is 'Exact match', 'bleu' is 'BLEU'."""
    words = metric.replace("_", " ")
    return _ACRONYMS.get(words, words[:1].upper() + words[1:])


def write_page(path: Any, template: str, **facts: Any) -> None:
    """Writes a page from a template in `web/`, in one move."""
    replace_file(path, _templates().get_template(template).render(libraries=_libraries(), **facts))


@functools.cache
def _templates() -> Any:
    # Imported here: a process that only trains writes no page.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seqjax.reporting", "web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(text: Any) -> Any:
    """Returns a text; if it is long it may be broken behind '.', '_', '-', '/' and ','."""
    import markupsafe

    safe = str(markupsafe.escape(text))
    # Browsers break at <wbr> even where the style says not to wrap.
    long = len(str(text)) > LONG
    return markupsafe.Markup(re.sub(r"([-._/,])(?=\w)", r"\1<wbr>", safe) if long else safe)


@functools.cache
def _libraries() -> dict[str, Any]:
    """Returns the libraries of a page by their names, compressed, as text without markup."""
    import markupsafe

    files = {
        "plotly": ("plotly", "package_data/plotly.min.js"),
        "datatables": ("itables", "html/dt_bundle.js"),
        "datatables-style": ("itables", "html/dt_bundle.css"),
    }
    return {name: markupsafe.Markup(_packed(*file)) for name, file in files.items()}


def _packed(package: str, path: str) -> str:
    content = importlib.resources.files(package).joinpath(path).read_bytes()
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _finite(value: Any) -> Any:
    """Returns plain values with null for each number that JSON cannot express."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
