"""Tokenize text for a recurrent search."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .._core import DataError
from .._values.files import could_be_path, user_path
from .._values.words import shown

END, UNKNOWN = "<eos>", "<unk>"
PARTS = ("train", "valid", "test")
_PART = re.compile(rf"(?:^|[._-])({'|'.join(PARTS)})(?:[._-]|$)")

_WORD = re.compile(r"[a-z]+|\d+|[^\w\s]")

Tokens = npt.NDArray[np.int64]
Split = Callable[[str], Iterable[str]]
T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Corpus:
    """A tokenized text; pass `(corpus.train, corpus.valid)` to `search`.

    Attributes:
        train, valid, test: int64 [tokens], in the order of the text; every line ends with the token of
            "<eos>". `test` is empty if the source has no test part.
        vocabulary: the words; a token is the index of its word.

    >>> text = corpus("to be or not to be\\nthat is the question\\n" * 5)
    >>> text
    Corpus(48 training, 7 validation and 5 test tokens, 9 words)
    >>> text.words(text.valid)
    'to be or not to be <eos>'
    """

    train: Tokens
    valid: Tokens
    test: Tokens
    vocabulary: tuple[str, ...]
    _places: dict[str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {word: place for place, word in enumerate(self.vocabulary)})

    def __repr__(self) -> str:
        train, valid, test = (f"{len(getattr(self, part)):,}" for part in PARTS)
        words = f"{len(self.vocabulary):,} words"
        return f"Corpus({train} training, {valid} validation and {test} test tokens, {words})"

    def tokens(self, words: Iterable[str]) -> Tokens:
        """Convert words to tokens; words that are not in the vocabulary become "<unk>".

        Raises:
            DataError: a word is unknown and the vocabulary has no "<unk>".

        >>> corpus("to be\\nto be\\nor not\\n").tokens(["not", "to"]).tolist()
        [4, 0]
        """
        unknown = self._places.get(UNKNOWN)
        numbers = []
        for word in words:
            place = self._places.get(word, unknown)
            if place is None:
                raise DataError(
                    f"{shown(word)} is not in the vocabulary, which has no {UNKNOWN!r}; set `vocabulary` "
                    "to add it"
                )
            numbers.append(place)
        return np.array(numbers, np.int64)

    def words(self, tokens: Iterable[int]) -> str:
        """Convert tokens to text, with a space between words."""
        return " ".join(self.vocabulary[token] for token in tokens)


def corpus(source: str | PathLike[str], *, vocabulary: int | None = None, split: Split = str.split) -> Corpus:
    """Read a text and tokenize it, as the published preparation of Penn Treebank does.

    Args:
        source: one of

            - a folder or a zip file with one file per part: "train.txt", "valid.txt" and, optionally,
              "test.txt"; the names may have a prefix or suffix, as in "ptb.train.txt";
            - a text file, or the text itself: the lines are divided in order, 80 % for training, 10 % for
              validation and 10 % for test. If there is only one line, as in text8, its words are divided in
              this way instead, and each part is a line.

            Files are UTF-8. A string is a text if it has a line end or is too long for a path.
        vocabulary: number of words to keep: "<eos>", "<unk>" and the most frequent words of the training part
            (ties: in the order of the text); all other words become "<unk>". None: keep every word of every
            part, in the order of the text.
        split: function that splits a line into words; by default at whitespace. `list` makes each character
            a word, for example of a DNA sequence.

    Raises:
        FileNotFoundError: the file or folder does not exist.
        DataError: a part is missing, has two files, is empty or is not UTF-8; or the source is empty.

    >>> text = corpus("to be or not\\nto be\\nto see\\n", vocabulary=4)
    >>> text.vocabulary, text.words(text.train)
    (('<eos>', '<unk>', 'to', 'be'), 'to be <unk> <unk> <eos>')
    """
    if vocabulary is not None and vocabulary < 3:
        raise DataError(f"vocabulary must be at least 3 ({END!r}, {UNKNOWN!r}, one word), got {vocabulary}")
    lines = {part: [[*line, END] for line in text] for part, text in _parts(source, split).items()}
    for part, text in lines.items():
        if part != "test" and not any(len(line) > 1 for line in text):
            raise DataError(f"the {part} part contains no words; give more text")
    words = _most_frequent(lines["train"], vocabulary) if vocabulary else _in_order(lines)
    places = {word: place for place, word in enumerate(words)}
    unknown = places.get(UNKNOWN, -1)

    def numbers(part: str) -> Tokens:
        return np.array(
            [places.get(word, unknown) for line in lines.get(part, ()) for word in line], np.int64
        )

    return Corpus(numbers("train"), numbers("valid"), numbers("test"), tuple(words))


def bundled_english() -> str:
    """Return the help texts of Python as an English text, one paragraph per line."""
    from pydoc_data.topics import topics  # 0.5 MB that only this function needs

    paragraphs = (part for name in sorted(topics) for part in topics[name].split("\n\n"))
    return "\n".join(" ".join(part.split()) for part in paragraphs if part.strip())


def split_words(line: str) -> list[str]:
    """Split a line into lower-case words, numbers and punctuation marks.

    >>> split_words("To be, or not 2 be")
    ['to', 'be', ',', 'or', 'not', '2', 'be']
    """
    return _WORD.findall(line.lower())


def _in_order(lines: dict[str, list[list[str]]]) -> list[str]:
    return list(dict.fromkeys(word for part in PARTS for line in lines.get(part, ()) for word in line))


def _most_frequent(lines: list[list[str]], most: int) -> list[str]:
    counts = Counter(word for line in lines for word in line)
    own = {END, UNKNOWN}
    return [END, UNKNOWN, *[word for word, _ in counts.most_common() if word not in own][: most - 2]]


def _parts(source: str | PathLike[str], split: Split) -> dict[str, list[list[str]]]:
    """Read the lines of each part, each as a list of words."""
    if isinstance(source, str) and ("\n" in source or not could_be_path(source)):
        return _divided(source.removeprefix("\ufeff"), split)
    if source == "":
        raise DataError("the text is empty; give a text, or the path of a file or folder")
    path = user_path(source)
    if path.is_dir():
        there = (file for file in sorted(path.iterdir()) if file.is_file())
        return _named(((file.name, file.read_bytes) for file in there), split)
    if not path.exists():
        raise FileNotFoundError(
            f"no file or folder {shown(str(path))}; if this string is a text, add a line end, because a "
            "string without one is read as a path"
        )
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                files = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
                # macOS adds metadata files with the same names as the real files.
                own = [file for file in files if "__MACOSX" not in file.parts]
                return _named(((file.name, partial(archive.read, str(file))) for file in own), split)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{path} is a corrupt zip file ({error}); download it again") from error
    return _divided(_decoded(path.read_bytes(), path.name), split)


def _named(files: Iterator[tuple[str, Callable[[], bytes]]], split: Split) -> dict[str, list[list[str]]]:
    found: dict[str, str] = {}
    lines: dict[str, list[list[str]]] = {}
    for name, read in files:
        match = _PART.search(name.lower())
        if match is None:
            continue
        part = match[1]
        if part in found:
            raise DataError(
                f"the {part} part has two files, {shown(found[part])} and {shown(name)}; remove one"
            )
        found[part] = name
        lines[part] = _lines(_decoded(read(), name), split)
    for part in ("train", "valid"):
        if part not in found:
            there = ", ".join(sorted(found.values())) or "none"
            raise DataError(f"the {part} part is missing; add '{part}.txt' (found: {there})")
    return lines


def _divided(text: str, split: Split) -> dict[str, list[list[str]]]:
    lines = _lines(text, split)
    if len(lines) > 1:
        return dict(zip(PARTS, _in_three(lines), strict=True))
    # The parts of a single line are lines themselves.
    return {part: [words] for part, words in zip(PARTS, _in_three(lines[0]), strict=True)}


def _in_three(items: list[T]) -> tuple[list[T], list[T], list[T]]:
    held_out = len(items) // 10 or (1 if len(items) > 2 else 0)
    end = len(items) - 2 * held_out
    return items[:end], items[end : end + held_out], items[end + held_out :]


def _lines(text: str, split: Split) -> list[list[str]]:
    return [list(split(line)) for line in text.removesuffix("\n").split("\n")]


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(name)} is not UTF-8 ({error}); convert it") from error
