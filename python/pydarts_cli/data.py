"""`--data KIND:WHERE`: the data of a search or training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from .answer import USAGE, Problem, cut, nearest, say
from .own import data_from, is_place, place

ENGLISH = "bundled"
_WORDS = 2000  # default vocabulary of the bundled English
_SIDE = 224  # pixels to which images in folders are cropped by default

_KINDS = {
    "digits": "",
    "cifar10": "DIR",
    "cifar100": "DIR",
    "folder": "DIR",
    "npz": "FILE",
    "corpus": "DIR|FILE",
}
_FORMS = ", ".join(
    [*(kind + (f":{where}" if where else "") for kind, where in _KINDS.items()), "FILE.py:NAME"]
)
PYTHON = "python"  # the kind of data that a Python file makes


@dataclass(frozen=True)
class Spec:
    """The value of `--data`."""

    kind: str
    where: str

    @property
    def words(self) -> bool:
        """Whether the data are text, for recurrent cells."""
        return self.kind == "corpus"

    def __str__(self) -> str:
        if self.kind == PYTHON:
            return self.where
        return f"{self.kind}:{self.where}" if self.where else self.kind


def spec(text: str) -> Spec:
    """Parse the value of `--data`.

    Raises:
        typer.BadParameter: the kind is unknown, or the path is missing or does not exist.

    >>> spec("npz:images.npz")
    Traceback (most recent call last):
    ...
    typer...BadParameter: no file 'images.npz'
    >>> spec("digits")
    Spec(kind='digits', where='')
    """
    if isinstance(text, Spec):
        return text
    if is_place(str(text)):
        return Spec(PYTHON, str(place(text)))
    kind, _, where = str(text).partition(":")
    if kind not in _KINDS:
        meant = nearest(kind, _KINDS)
        remedy = f"; did you mean {meant}?" if meant else ""
        raise typer.BadParameter(f"unknown data {cut(kind)!r}; choose from {_FORMS}{remedy}")
    if not _KINDS[kind] and where:
        raise typer.BadParameter(f"{kind} takes no path; leave out {cut(':' + where)!r}")
    if _KINDS[kind] and not where:
        raise typer.BadParameter(f"{kind} requires a path: {kind}:{_KINDS[kind]}")
    path = Path(os.path.expanduser(where))
    if kind == "npz" and not os.path.isfile(path):
        raise typer.BadParameter(f"no file {cut(where)!r}")
    if kind == "folder" and not os.path.isdir(path):
        raise typer.BadParameter(f"no folder {cut(where)!r}")
    if kind == "corpus" and where != ENGLISH and not os.path.exists(path):
        raise typer.BadParameter(
            f"no file or folder {cut(where)!r}; for the English text that comes with Python, use "
            f"corpus:{ENGLISH}"
        )
    return Spec(kind, where if where == ENGLISH else str(path) if where else "")


def _forms(incomplete: str) -> list[str]:
    return [kind + (":" if where else "") for kind, where in _KINDS.items()] + [f"corpus:{ENGLISH}"]


_PANEL = "Data"
DATA_HELP = (
    "digits (scikit-learn's, 8x8 pixels); cifar10:DIR, cifar100:DIR; folder:DIR, with one folder of images "
    "per class, or with train/ and val/ that contain such folders; npz:FILE, with x_train, y_train and "
    "optionally x_test, y_test: images or, for a space such as darts-1d, sequences; "
    f"corpus:DIR or FILE, text; corpus:{ENGLISH}, English text that comes with Python; "
    "FILE.py:NAME, an object that pydarts.search accepts as a loader, or a function that returns one"
)

DataOption = Annotated[
    Any,
    typer.Option(
        "--data",
        metavar="KIND:WHERE",
        parser=spec,
        help=DATA_HELP,
        autocompletion=_forms,
        rich_help_panel=_PANEL,
    ),
]
DownloadOption = Annotated[
    bool, typer.Option("--download", help="download CIFAR (170 MB) if it is missing", rich_help_panel=_PANEL)
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--loader-workers",
        min=0,
        metavar="INT",
        help="number of processes that read the images of folder:DIR",
        show_default="4, or the number of CPUs if that is lower",
        rich_help_panel=_PANEL,
    ),
]
SideOption = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        min=1,
        metavar="INT",
        help="side in pixels to which the images of folder:DIR are cropped",
        show_default="that of the search, if its folder is given, else 224",
        rich_help_panel=_PANEL,
    ),
]
GrayOption = Annotated[
    bool,
    typer.Option(
        "--grayscale", help="read the images of folder:DIR with one channel", rich_help_panel=_PANEL
    ),
]
WordsOption = Annotated[
    int | None,
    typer.Option(
        "--words",
        min=3,
        metavar="INT",
        help=f"number of most frequent words to keep; default: all words (corpus:{ENGLISH}: {_WORDS})",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class Data:
    """The data as arguments of `search`, `train` and `build`."""

    search: Any
    """The argument of `search`: a source to split, or a pair of texts."""
    train: Any
    """The argument of `train`, with a separate validation part if there is one."""
    sizes: Mapping[str, int]
    """Arguments of `build`: classes and channels, or the number of words."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of both configurations that control how images are read."""


def read(
    given: Spec,
    *,
    image_size: Any,
    batch_size: Any,
    download: bool,
    workers: int | None,
    words: int | None,
    grayscale: bool = False,
    dimensions: int | None = None,
) -> Data:
    """Open the data; `dimensions` are those of the space (1: arrays of sequences).

    Only `folder` uses the sizes, because it forms its own batches (None: of 96 images).

    Raises:
        Problem: an option does not apply to these data, or a folder lacks its parts.
        OSError, pydarts.Error: as `pydarts.datasets` raises them.
    """
    if words is not None and not given.words:
        raise Problem(f"--words applies to text only, but {given} has images; leave it out", USAGE)
    if download and given.kind not in ("cifar10", "cifar100"):
        raise Problem(f"--download applies to cifar10 and cifar100 only, not to {given}; leave it out", USAGE)
    if grayscale and given.kind != "folder":
        raise Problem(f"--grayscale applies to images in folders only, not to {given}; leave it out", USAGE)
    if given.kind == PYTHON:
        made = data_from(place(given.where))
        return Data(made, made, {})
    from pydarts import datasets
    from pydarts._values.hints import silence

    if given.kind == "digits":
        X, y = datasets.digits()
        return Data((X, y), (X, y), {"num_classes": 10, "in_channels": 1})
    if given.words:
        return _text(given, words)
    if given.kind == "npz":
        found = datasets.npz(given.where, dimensions=1 if dimensions == 1 else 2)
    elif given.kind == "folder":
        train, valid = _parts(Path(given.where))
        batch_size = 96 if batch_size is None else batch_size  # as published (A.2.1)
        sizes = {"batch_size": batch_size} | ({"size": image_size} if image_size is not None else {})
        if not isinstance(batch_size, int):
            raise Problem(
                f"--batch-size {batch_size} is for arrays only; images in folders require a number", USAGE
            )
        silent = silence()  # `_look` refuses what the hint is about, and --image-size chooses it
        try:
            found = datasets.image_folder(train, valid, loader_workers=workers, grayscale=grayscale, **sizes)
        finally:
            silence(silent)
        images: Any = found.train
        _look(images.dataset.samples[0][0], given, image_size, grayscale)
    else:
        found = getattr(datasets, given.kind)(given.where, download=download)
    both = found.train if found.valid is None else (found.train, found.valid)
    channels = found.train[0].shape[1] if isinstance(found.train, tuple) else 1 if grayscale else 3
    sizes = {"num_classes": len(found.classes), "in_channels": int(channels)}
    return Data(found.train, both, sizes, found.settings)


def _look(path: str, given: Spec, image_size: object, grayscale: bool) -> None:
    """Look at the first image: it should not be enlarged many times, and grey ones need one channel only."""
    from pydarts._data.image_folder import enlarged, header

    found = header(path)
    if found is None:
        return  # the error names the image when it is read
    (width, height), mode = found
    if image_size is None and enlarged((width, height), _SIDE):
        raise Problem(
            f"images of {given} have {width}x{height} pixels, and would be enlarged to {_SIDE}x{_SIDE}; pass "
            f"--image-size {min(width, height)}, or --image-size {_SIDE} to enlarge them",
            USAGE,
        )
    if image_size is None:
        say(f"images of {given} are cropped to {_SIDE}x{_SIDE}; use --image-size to change this")
    if mode in ("1", "L") and not grayscale:
        say(f"images of {given} seem to be grey; --grayscale searches with one channel instead of three")


def _text(given: Spec, words: int | None) -> Data:
    from pydarts import datasets

    if given.where == ENGLISH:
        from pydarts._data.corpus import bundled_english, split_words

        text = datasets.corpus(bundled_english(), vocabulary=words or _WORDS, split=split_words)
    else:
        text = datasets.corpus(Path(given.where), vocabulary=words)
    pair = (text.train, text.valid)
    return Data(pair, pair, {"vocabulary": len(text.vocabulary)})


def _parts(folder: Path) -> tuple[Path, Path | None]:
    from pydarts._data.image_folder import VALID

    for name in VALID:
        if (folder / "train").is_dir() and (folder / name).is_dir():
            return folder / "train", folder / name
    if not (folder / "train").is_dir() and any(path.is_dir() for path in folder.iterdir()):
        return folder, None
    raise Problem(
        f"{folder} must contain one folder per class, or train and val (or valid, validation, test)"
    )
