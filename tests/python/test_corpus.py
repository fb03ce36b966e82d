"""`datasets.corpus`: texts, folders and zip files as numbers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydarts import DataError
from pydarts.datasets import Corpus, corpus

PARTS = {"train": "a b a\nb c\n", "valid": "c a\n", "test": "d\n"}


def written(folder: Path, **parts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in parts.items():
        (folder / f"ptb.{name}.txt").write_text(text)
    return folder


def zipped(path: Path, **parts: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(f"data/ptb.{name}.txt", text)
            archive.writestr(f"__MACOSX/data/._ptb.{name}.txt", b"\xff\xfe")
    return path


def same(one: Corpus, other: Corpus) -> bool:
    parts = ("train", "valid", "test")
    equal = all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)
    return equal and one.vocabulary == other.vocabulary


def test_words_are_numbered_in_the_order_of_the_text_and_lines_end(tmp_path: Path) -> None:
    read = corpus(written(tmp_path, **PARTS))
    assert read.vocabulary == ("a", "b", "<eos>", "c", "d")
    assert read.train.tolist() == [0, 1, 0, 2, 1, 3, 2] and read.train.dtype == np.int64
    assert read.valid.tolist() == [3, 0, 2] and read.test.tolist() == [4, 2]
    assert repr(read) == "Corpus(7 training, 3 validation and 2 test tokens, 5 words)"


def test_a_zip_file_is_read_as_its_folder_would_be(tmp_path: Path) -> None:
    folder, archive = written(tmp_path / "folder", **PARTS), zipped(tmp_path / "ptb.zip", **PARTS)
    assert same(corpus(str(archive)), corpus(folder))


def test_a_test_part_may_be_missing(tmp_path: Path) -> None:
    read = corpus(written(tmp_path, train="a\n", valid="a b\n"))
    assert read.test.tolist() == [] and read.vocabulary == ("a", "<eos>", "b")


def test_windows_line_ends_are_line_ends(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain", **PARTS)
    foreign = written(tmp_path / "foreign")
    for name, text in PARTS.items():
        (foreign / f"{name}.txt").write_bytes(text.replace("\n", "\r\n").encode())
    assert same(corpus(foreign), corpus(plain))


def test_a_vocabulary_keeps_the_most_frequent_words_of_the_training_part(tmp_path: Path) -> None:
    read = corpus(written(tmp_path, train="c b\nb a b c\n", valid="d b <unk>\n"), vocabulary=4)
    assert read.vocabulary == ("<eos>", "<unk>", "b", "c")
    assert read.words(read.train) == "c b <eos> b <unk> b c <eos>"
    assert read.words(read.valid) == "<unk> b <unk> <eos>"
    assert read.tokens(["b", "zebra"]).tolist() == [2, 1]


def test_a_text_and_its_file_are_divided_eight_one_one(tmp_path: Path) -> None:
    text = "".join(f"w{line}\n" for line in range(20))
    read = corpus(text)
    assert [len(part) // 2 for part in (read.train, read.valid, read.test)] == [16, 2, 2]
    assert read.words(read.valid) == "w16 <eos> w17 <eos>"
    (tmp_path / "text.txt").write_text(text)
    assert same(corpus(tmp_path / "text.txt"), read)


def test_words_are_parted_as_asked() -> None:
    assert corpus("ab\nba\nb\n", split=list).vocabulary == ("a", "b", "<eos>")


def test_an_unknown_word_without_a_number_for_it_is_an_error() -> None:
    with pytest.raises(DataError, match=r"zebra.*<unk>"):
        corpus("a\nb\nc\n").tokens(["zebra"])


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"train": "a\n"}, r"valid\.txt.*ptb\.train\.txt"),
        ({"valid": "a\n"}, "train.*valid"),
        ({"train": "\n\n", "valid": "a\n"}, "train"),
        ({"train": "a\n", "valid": ""}, "valid"),
    ],
)
def test_a_part_that_is_missing_or_empty_is_named(tmp_path: Path, parts: dict[str, str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        corpus(written(tmp_path, **parts))


def test_a_part_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    written(tmp_path, **PARTS)
    (tmp_path / "train.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"ptb\.train\.txt.*train\.txt"):
        corpus(tmp_path)


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in ("train", "valid"):
            archive.writestr(f"{part}.txt", "to be or not to be\n" * 200)
    whole = path.read_bytes()
    path.write_bytes(whole[:45] + bytes(8) + whole[53:])
    with pytest.raises(DataError, match=r"text\.zip"):
        corpus(path)


def test_what_is_not_utf8_is_named(tmp_path: Path) -> None:
    written(tmp_path, **PARTS)
    (tmp_path / "ptb.valid.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"ptb\.valid\.txt.*UTF-8"):
        corpus(tmp_path)


def test_a_path_that_is_none_is_not_taken_for_a_text() -> None:
    with pytest.raises(FileNotFoundError, match=r"no/such/file\.txt"):
        corpus("no/such/file.txt")


def test_a_vocabulary_too_small_for_a_word_is_an_error() -> None:
    with pytest.raises(DataError, match=r"vocabulary.*2"):
        corpus("a\nb\nc\n", vocabulary=2)


LINES = st.lists(st.lists(st.sampled_from(["to", "be", "or", "not"]), min_size=1), min_size=3)


@given(LINES)
def test_any_text_comes_back_from_its_numbers(lines: list[list[str]]) -> None:
    read = corpus("".join(" ".join(line) + "\n" for line in lines))
    everything = np.concatenate([read.train, read.valid, read.test])
    assert read.words(everything) == " ".join(word for line in lines for word in [*line, "<eos>"])
    assert set(everything.tolist()) == set(range(len(read.vocabulary)))
    assert len(read.train) and len(read.valid)


@given(LINES, st.integers(3, 7))
def test_a_small_vocabulary_never_loses_a_place(lines: list[list[str]], most: int) -> None:
    text = "".join(" ".join(line) + "\n" for line in lines)
    small, whole = corpus(text, vocabulary=most), corpus(text)
    assert len(small.train) == len(whole.train) and len(small.vocabulary) <= most
    for part in ("train", "valid", "test"):
        for word, other in zip(
            small.words(getattr(small, part)).split(), whole.words(getattr(whole, part)).split(), strict=True
        ):
            assert word == other or (word == "<unk>" and other not in small.vocabulary)
