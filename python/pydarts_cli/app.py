"""All commands."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .compare import compare
from .cost import cost
from .derive import derive
from .doctor import doctor
from .explain import explain
from .export import export
from .plot import plot
from .report import report
from .search import search
from .train import train


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command that is named; what refuses a value says so without the name of its own error."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    name="pydarts",
    cls=_Commands,
    help="Differentiable architecture search: search for cells, look at them, train and export them.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Every command takes --json.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_SEARCHES, _CELLS, _LOOKS, _MACHINE = "Search and train", "Cells and networks", "Look at runs", "This machine"
for _function, _panel in (
    (search, _SEARCHES),
    (train, _SEARCHES),
    (compare, _SEARCHES),
    (plot, _LOOKS),
    (report, _LOOKS),
    (derive, _CELLS),
    (cost, _CELLS),
    (explain, _CELLS),
    (export, _CELLS),
    (doctor, _MACHINE),
):
    app.command(rich_help_panel=_panel)(_function)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"pydarts {version('pydarts')}")
        except PackageNotFoundError:  # run from a checkout that is not installed
            import pydarts

            print(f"pydarts {pydarts.__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="the version, and no more", callback=_version, is_eager=True)
    ] = False,
) -> None: ...
