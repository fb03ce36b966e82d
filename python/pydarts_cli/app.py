"""All commands."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .answer import meant
from .compare import compare
from .conformance import conformance
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
        """Run a command; error messages lose the prefix that typer adds to a ValueError and name synonyms."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise
        except Exception as error:  # not every version of typer exports the class of an unknown option
            if hasattr(error, "possibilities"):
                _suggest(error)
            raise


def _suggest(error: Any) -> None:
    """Suggest options that an unknown one may mean, as the library does; typer compares letters only."""
    options = [option for option in error.ctx.command.params if not getattr(option, "hidden", False)]
    written = [name for option in options for name in (*option.opts, *option.secondary_opts)]
    names = {name[2:].replace("-", "_"): name for name in written if name.startswith("--")}
    found = [names[name] for name in meant(error.option_name.lstrip("-").replace("-", "_"), names)]
    error.possibilities = found or [name for name in error.possibilities or () if name in written]


app = typer.Typer(
    name="pydarts",
    cls=_Commands,
    help="Differentiable architecture search: search for cells, inspect, train and export them.",
    epilog="Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted (by Ctrl-C or SIGTERM). "
    "Every command accepts --json.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_SEARCHES, _CELLS, _RUNS, _MACHINE = "Search and train", "Cells and networks", "Inspect runs", "This machine"
for _function, _panel in (
    (search, _SEARCHES),
    (train, _SEARCHES),
    (compare, _SEARCHES),
    (plot, _RUNS),
    (report, _RUNS),
    (derive, _CELLS),
    (cost, _CELLS),
    (explain, _CELLS),
    (export, _CELLS),
    (doctor, _MACHINE),
    (conformance, _MACHINE),
):
    app.command(rich_help_panel=_panel)(_function)


def _version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"pydarts {version('pydarts')}")
        except PackageNotFoundError:  # a checkout that is not installed
            import pydarts

            print(f"pydarts {pydarts.__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_version, is_eager=True)
    ] = False,
) -> None: ...
