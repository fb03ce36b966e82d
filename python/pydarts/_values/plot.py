"""What plot functions return."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, overload

from .files import user_path, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style: TypeAlias = Literal["paper"]
"""`"paper"`: as wide as a column or a page, letters of at least 7 points, lines that differ in grey."""


class PlotOptions(TypedDict, total=False):
    """What all plot functions take, next to `ax`; `plots.alphas` describes them."""

    path: str | os.PathLike[str] | None
    figsize: tuple[float, float] | None
    style: Style | None


_SHARP = 2.0  # pixels of a picture in a notebook per pixel of the figure


class Plot(Sequence["Axes"]):
    """A plot: its axes, and the figure that they belong to.

    It is the sequence of its axes, in the order that the plot function describes. In a notebook it shows the
    figure, in a script `show` opens a window.

    >>> from pydarts import genotypes
    >>> plot = genotypes.DARTS_V2.plot()
    >>> len(plot), plot[0].get_title(loc="left"), plot.axes[0] is plot[0]
    (2, 'normal', True)
    """

    axes: tuple[Axes, ...]
    """The axes, at least one."""

    def __init__(self, axes: Sequence[Axes], settings: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.axes = tuple(axes)
        self._settings: Any = dict(settings)  # of matplotlib

    @property
    def figure(self) -> Figure:
        """The matplotlib figure."""
        found: Any = self.axes[0].figure
        whole: Figure = found.figure  # of a subfigure, the figure that contains it
        return whole

    @property
    def ax(self) -> Axes:
        """The axes of a plot that has only one.

        Raises:
            ValueError: the plot has several.
        """
        if len(self.axes) > 1:
            raise ValueError(f"this plot has {len(self.axes)} axes; choose from `plot.axes`")
        return self.axes[0]

    def savefig(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the figure to a file, which is replaced atomically.

        Args:
            path: name of the file in an existing folder; the ending chooses the format, such as `.png`,
                `.pdf` or `.svg`.
            options: of matplotlib's `Figure.savefig`. The defaults are `dpi=150` and
                `bbox_inches="tight"`, which removes white margins; plots in a style keep their size.

        Returns:
            The path of the file.

        Raises:
            ValueError: an ending that matplotlib does not know.
            OSError: there is no such folder, or it cannot be written.

        >>> import tempfile
        >>> from pydarts import genotypes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     genotypes.DARTS_V2.plot().savefig(f"{folder}/cells.pdf").name
        'cells.pdf'
        """
        import matplotlib

        file = user_path(path)
        settings: dict[str, Any] = {"format": file.suffix[1:] or "png", "dpi": 150}
        if not self._settings:
            settings["bbox_inches"] = "tight"
        with io.BytesIO() as content, matplotlib.rc_context(self._settings):
            self.figure.savefig(content, **settings | options)
            write_atomically(file, content.getvalue())
        return file

    def show(self) -> None:
        """Show the figure: below the cell of a notebook, or in a window.

        In a script without a display, such as on a server, there is no window: use `savefig`. A plot that was
        written with `path=` has no window either.
        """
        if _in_notebook():
            from IPython.display import display

            display(self)  # type: ignore[no-untyped-call]
        else:
            import matplotlib.pyplot as plt

            plt.show()

    @overload
    def __getitem__(self, index: int) -> Axes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Axes, ...]: ...
    def __getitem__(self, index: int | slice) -> Axes | tuple[Axes, ...]:
        return self.axes[index]

    def __len__(self) -> int:
        return len(self.axes)

    def __iter__(self) -> Iterator[Axes]:
        return iter(self.axes)

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"<Plot: {len(self)} axes, {width:.1f} × {height:.1f} inches>"

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        """Return the picture and its size on the screen; None where the figure is shown in another way."""
        import matplotlib
        import matplotlib.pyplot as plt

        backend = matplotlib.get_backend().lower()
        if backend not in ("agg", "inline", "module://matplotlib_inline.backend_inline"):
            return None  # a window, or a widget
        with io.BytesIO() as content, matplotlib.rc_context(self._settings):
            self.figure.savefig(content, format="png", dpi=_SHARP * self.figure.dpi, bbox_inches="tight")
            png = content.getvalue()
        # Otherwise the notebook would show it a second time, at the end of the cell.
        plt.close(self.figure)
        width, height = (int(int.from_bytes(png[start : start + 4], "big") / _SHARP) for start in (16, 20))
        return png, {"width": width, "height": height}


def _in_notebook() -> bool:
    """Return whether this is a Jupyter kernel."""
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ not in ("NoneType", "TerminalInteractiveShell")
