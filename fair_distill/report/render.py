"""Rendering of values to a static page without scripts or network access. Only this module imports Jinja."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fair_distill.errors import ConfigError
from fair_distill.report import wording


@dataclass(frozen=True)
class Table:
    """A table. The first `words` columns are text; the others are numbers."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


def render(template: str, context: Mapping[str, Any]) -> bytes:
    """Return a template of this package, rendered with the values in `context`.

    Raises
    ------
    ConfigError
        If Jinja is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise ConfigError(
            "a report needs Jinja and Pillow, which are not installed; run: pip install 'fair-distill[report]'"
        ) from None
    environment = Environment(
        loader=PackageLoader("fair_distill.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": wording.percent, "metric": wording.metric, "after": str.removeprefix}
    return environment.get_template(template).render(context).encode()
