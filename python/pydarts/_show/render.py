"""HTML pages and fragments, rendered from `templates/`."""

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
        autoescape=True,  # names of spaces and texts of errors come from users
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """Render a template of this package; values are escaped unless they are `Markup`."""
    return _environment().get_template(template).render(**values)
