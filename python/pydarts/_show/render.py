"""Pages and fragments of HTML, from the templates in `templates/`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("pydarts._show"),
        autoescape=True,  # names of spaces, texts of errors: all of it is somebody's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """A template of this package, filled; what is not `Markup` is escaped."""
    return _environment().get_template(template).render(**values)
