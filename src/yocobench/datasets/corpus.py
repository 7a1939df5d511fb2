"""Finds the documents of the text dataset.

The default corpus is the source text of three pure-Python packages that every installation of yocobench has,
because torch requires them. Their wheels hold the same files for every platform and Python version, so the same
pins give the same dataset, bit by bit, everywhere. The standard library would not do: it differs between patch
versions of Python, and receipts of two machines could not be compared.

Not covered: a corpus that does not fit in memory. A benchmark needs some tens of megabytes.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import fsspec  # type: ignore[import-untyped]
import psutil
import pyarrow as pa
import pyarrow.parquet

PACKAGES = ("mpmath", "networkx", "sympy")
SUFFIXES = (".txt", ".jsonl", ".parquet")
MAX_CHARS = 32768
"""A longer .txt is cut into documents of at most so many characters, so that one large file can be split."""


@dataclass(frozen=True)
class Document:
    """A piece of text that is wholly in one split."""

    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """All documents in a fixed order, and what to call them without naming a folder of this machine."""

    source: str
    documents: list[Document]


def find(source: str | None) -> Corpus:
    """The corpus that `data.text.source` names; null: the default one.

    Raises ValueError, naming file and offset: nothing there, unreadable, empty, not UTF-8, cut short, vanished.
    """
    return _installed_packages() if source is None else _user_corpus(source)


def _installed_packages() -> Corpus:
    documents, versions = [], []
    for package in PACKAGES:
        distribution = importlib.metadata.distribution(package)
        if distribution.files is None:
            raise ValueError(f"{package} was installed without a list of its files: pip install --force-reinstall it")
        versions.append(f"{package} {distribution.version}")
        files = [path for path in distribution.files if path.suffix == ".py" and "tests" not in path.parts]
        for file in sorted(files, key=lambda path: path.as_posix()):
            name = file.as_posix()
            try:
                text = _utf8(name, file.read_binary())
            except FileNotFoundError:
                raise ValueError(f"{name} of {versions[-1]} is gone: pip install --force-reinstall {package}") from None
            if text.strip():  # an empty __init__.py is no damage
                documents.append(Document(name, text))
    return Corpus("source text of " + ", ".join(versions), documents)


def _user_corpus(source: str) -> Corpus:
    files, filesystem = _list_files(source)
    total = sum(files.values())
    free = psutil.virtual_memory().available
    # Text, its tokens and the tokenizer's own counts are in memory together: four to six times the bytes.
    if total * 6 > free:
        raise ValueError(
            f"data.text.source {source!r} has {total / 1e6:.0f} MB of text; this machine's {free / 1e6:.0f} MB of free "
            "memory take a sixth of that: give fewer files (a benchmark needs some tens of MB)"
        )
    root = _common(files)
    documents = []
    for path in sorted(files):
        name = PurePath(path).relative_to(root).as_posix()
        read = list(_READERS[PurePath(path).suffix](name, _read(filesystem, path, name)))
        if not read:
            raise ValueError(f"{name} is empty at byte 0 of {files[path]}: remove it, or give it text")
        documents += read
    label = source if "://" in source else PurePath(source).name
    return Corpus(f"{label} ({len(files)} file{'s' * (len(files) != 1)})", documents)


def _list_files(source: str) -> tuple[dict[str, int], Any]:
    """Size in bytes of each text file under a local path or a URI, and the file system that holds them."""
    try:
        filesystem, path = fsspec.core.url_to_fs(source)
        found = filesystem.find(path, detail=True)
    except Exception as error:  # each file system has its own: no credentials, no endpoint, no such bucket
        raise ValueError(f"data.text.source {source!r} cannot be listed: {type(error).__name__}: {error}") from error
    files = {name: int(facts["size"]) for name, facts in found.items() if PurePath(name).suffix in SUFFIXES}
    if not files:
        what = f"holds {len(found)} files, none of them" if found else "does not exist or holds no"
        raise ValueError(f"data.text.source {source!r} {what} {', '.join(SUFFIXES)}")
    return files, filesystem


def _common(paths: dict[str, int]) -> str:
    """The deepest folder that holds all of the files."""
    parents = [PurePath(path).parents for path in paths]
    return next(folder for folder in parents[0] if all(folder in others for others in parents)).as_posix()


def _read(filesystem: Any, path: str, name: str) -> bytes:
    try:
        content = filesystem.cat_file(path)
    except FileNotFoundError:
        raise ValueError(f"{name} was listed and is gone now: do not change the corpus while it is read") from None
    except Exception as error:
        raise ValueError(f"{name} cannot be read: {type(error).__name__}: {error}") from error
    assert isinstance(content, bytes)
    return content


def _utf8(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 at byte {error.start}: 0x{content[error.start]:02x}") from None


def _txt(name: str, content: bytes) -> Iterator[Document]:
    text = _utf8(name, content)
    start = 0
    while start < len(text):
        end = _cut(text, start)
        if text[start:end].strip():
            yield Document(f"{name}:{start}", text[start:end])
        start = end


def _cut(text: str, start: int) -> int:
    """Where the document that begins at `start` ends: after the last blank line, else line, that MAX_CHARS allow."""
    end = start + MAX_CHARS
    if end >= len(text):
        return len(text)
    for separator in ("\n\n", "\n"):
        found = text.rfind(separator, start, end)
        if found > start:
            return found + len(separator)
    return end


def _jsonl(name: str, content: bytes) -> Iterator[Document]:
    _utf8(name, content)
    offset = 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        where = f"{name} line {number}, byte {offset}"
        offset += len(line) + 1
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: cut short or not JSON: {error.msg}") from None
        except ValueError as error:  # a whole number of thousands of digits
            raise ValueError(f"{where}: {error}") from None
        except RecursionError:
            raise ValueError(f"{where}: lists within lists, too deep to be read") from None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            keys = f"keys: {', '.join(record)}" if isinstance(record, dict) else f"a {type(record).__name__}"
            raise ValueError(f'{where}: no string under "text" ({keys})')
        if half := re.search("[\ud800-\udfff]", record["text"]):
            raise ValueError(f"{where}: half a character, \\u{ord(half[0]):x}, stands alone in its text: remove it")
        if record["text"].strip():
            yield Document(f"{name}:{number}", record["text"])


def _parquet(name: str, content: bytes) -> Iterator[Document]:
    if not content:
        return
    try:
        with pyarrow.parquet.ParquetFile(io.BytesIO(content)) as file:
            if "text" not in file.schema_arrow.names:
                raise ValueError(f'{name} has no column "text"; its columns: {", ".join(file.schema_arrow.names)}')
            column = file.read(columns=["text"])["text"].combine_chunks().cast(pa.large_string())
            column.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name} is cut short or damaged ({len(content)} bytes): {error}") from None
    for row, text in enumerate(column.to_pylist()):
        if text is not None and text.strip():
            yield Document(f"{name}:{row}", text)


_READERS = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}
