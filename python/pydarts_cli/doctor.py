"""`pydarts doctor`."""

from __future__ import annotations

from dataclasses import asdict

from .answer import FAILED, Answer
from .command import command


@command()
def doctor() -> Answer:
    """Check this installation: versions, devices, optional packages, and a search that takes a second.

    The exit code is 1 if something is broken. A missing optional package is not an error.

    Example:

    $ pydarts doctor --json
    """
    from rich.table import Table
    from rich.text import Text

    from .checks import examine

    checks = examine()
    table = Table(box=None, show_header=False)
    colors = {"ok": "green", "missing": "yellow", "broken": "red bold"}
    for check in checks:
        found = check.found if not check.remedy else f"{check.found}\n→ {check.remedy}"
        table.add_row(Text(check.state, style=colors[check.state]), check.name, Text(found))
    broken = [check.name for check in checks if check.state == "broken"]
    verdict = f"broken: {', '.join(broken)}" if broken else "no problems found"
    data = {"healthy": not broken, "checks": [asdict(check) for check in checks]}
    return Answer(data, [table, verdict], FAILED if broken else 0)
