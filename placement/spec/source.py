# SPDX-License-Identifier: Apache-2.0
"""YAML as its author typed it: every scalar stays text, every value keeps its place, hostile files fail early and clearly.

Built on parser events, not on composed nodes: the builder is iterative, so nesting cannot exhaust the stack, and aliases
share one value while their expanded size is counted, so an alias bomb is refused before anything walks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from placement.diag import Collector, Diagnostic, InputError, Label, Span
from placement.spec.examples import resolve
from placement.spec.validate import validate

__all__ = ["Document", "KeyPath", "load", "parse", "validate"]

MAX_BYTES = 16 << 20  # a hand-written file is under 100 kB; 237 published runs are 0.6 MB
MAX_NODES = 250_000  # values after expanding aliases; those runs are 15,000
MAX_FINDINGS = 100  # of reading; nobody reads more
MAX_DEPTH = 64

KeyPath = tuple[str | int, ...]
Place = tuple[int, int, int]  # line, column, end column on the same line; all count from 1


@dataclass(frozen=True)
class Document:
    """A parsed file. `tree`: dicts, lists, text and None. `spans`: place of each value, `keys`: place of each mapping key."""

    file: str
    text: str
    tree: Any
    spans: Mapping[KeyPath, Place]
    keys: Mapping[KeyPath, Place]
    room: str = "input"

    def span(self, path: KeyPath = ()) -> Span:
        """Where the value at `path` stands; of its nearest known ancestor if it has no place of its own."""
        while path and path not in self.spans:
            path = path[:-1]
        return Span(self.file, *self.spans.get(path, (1, 1, 2)))

    def key_span(self, path: KeyPath) -> Span:
        """Where the key of `path` stands; items of lists have no key, so theirs is the place of the value."""
        place = self.keys.get(path)
        return Span(self.file, *place) if place else self.span(path)

    def where(self, path: KeyPath) -> tuple[str, int, int]:
        """(file, line, column) of a key, for maps from results back to the source."""
        span = self.key_span(path)
        return span.file, span.line, span.column


def load(path: str | Path, room: str = "input") -> Document:
    """Read and parse a YAML file; a bare name falls back to the examples that come with the tool.

    `room` (topology, model, job, runs) prefixes the names of later diagnostics. Raises InputError with every finding.
    """
    file = resolve(str(path), room)
    return parse(_read(file), str(file), room)


def parse(text: str, file: str = "<text>", room: str = "input") -> Document:
    """Parse YAML text. Raises InputError."""
    import yaml

    builder = _Builder(file, text.split("\n"))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        builder.fail("yaml-syntax", _problem(error), _mark_place(error.problem_mark or error.context_mark), _syntax_help(error))
    except yaml.reader.ReaderError as error:
        at = text.count("\n", 0, int(error.position)) + 1
        builder.fail("bad-character", f"character U+{_code(error):04X} is not allowed in YAML", (at, 1, 1))
    if not builder.documents and not builder.found.errors:
        builder.fail("empty-file", "the file is empty", (1, 1, 2))
    builder.found.raise_if_errors()
    return Document(file, text, builder.documents[0], builder.spans, builder.keys, room)


def _read(file: Path) -> str:
    """Text of a file, at most MAX_BYTES of it ever in memory."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refuse(file, "no-such-file", "there is no such file") from None
    except OSError as error:
        raise _refuse(file, "unreadable-file", f"the file cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > MAX_BYTES:
        raise _refuse(file, "file-too-large", f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise _refuse(file, "not-utf8", message, Span(str(file), line, column), "save the file as UTF-8") from None


def _refuse(file: Path, name: str, message: str, span: Span | None = None, help: str = "") -> InputError:
    return InputError([Diagnostic(f"input/{name}", message, primary=Label(span or Span(str(file))), help=help)])


def _code(error: Any) -> int:
    return error.character if isinstance(error.character, int) else ord(str(error.character)[:1] or "\0")


def _problem(error: Any) -> str:
    text = str(error.problem or error.context or "not valid YAML").strip().rstrip(".")
    return text[:1].lower() + text[1:]


def _syntax_help(error: Any) -> str:
    problem = str(error.problem or "")
    if "\\t" in problem or "cannot start any token" in problem:
        return "indent with spaces; put quotes around text that starts with a special character"
    if "flow sequence" in f"{error.context}":
        return 'put quotes around host ranges inside brackets: `["n[00-15]"]`'
    return ""


def _mark_place(mark: Any) -> Place:
    return (mark.line + 1, mark.column + 1, mark.column + 2) if mark else (1, 1, 2)


@dataclass
class _Frame:
    """A mapping or list under construction. `path` of itself; `key` the mapping key that waits for its value. `apart`: set
    behind a key that is given twice, so that what stands below it is not taken for what stands below the first.
    """

    value: Any
    path: KeyPath
    anchor: str | None
    key: str | None = None
    size: int = 1
    apart: str = ""


@dataclass
class _Builder:
    """Turns parser events into a tree with places, iteratively, within the limits."""

    file: str
    lines: list[str]
    found: Collector = field(default_factory=Collector)
    documents: list[Any] = field(default_factory=list)
    spans: dict[KeyPath, Place] = field(default_factory=dict)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    stack: list[_Frame] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    total: int = 0

    def fail(self, name: str, message: str, place: Place, help: str = "", first: Place | None = None) -> None:
        secondary = (Label(Span(self.file, *first), "first given here"),) if first else ()
        self.found.add(
            Diagnostic(f"input/{name}", message, primary=Label(Span(self.file, *place)), secondary=secondary, help=help)
        )
        if len(self.found.found) >= MAX_FINDINGS:
            raise InputError(self.found.found)

    def stop(self, name: str, message: str, place: Place, help: str = "") -> None:
        """Report and give up on this file."""
        self.fail(name, message, place, help)
        raise InputError(self.found.found)

    def feed(self, event: Any) -> None:
        handler = getattr(self, "on_" + type(event).__name__, None)
        if handler is not None:
            handler(event)

    def on_DocumentStartEvent(self, event: Any) -> None:
        if self.documents:
            self.stop("two-documents", "the file holds more than one YAML document", self.place(event), "remove the line `---`")

    def on_ScalarEvent(self, event: Any) -> None:
        self.tag(event)
        if self.wants_key():
            self.take_key(event)
            return
        plain_null = event.style is None or event.style == ""
        value = None if plain_null and event.value in ("", "~", "null") else event.value
        self.put(value, event, 1)

    def on_AliasEvent(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            self.stop("unknown-alias", f"there is no anchor `&{event.anchor}` before this alias", self.place(event))
        value, size = self.anchors[event.anchor]
        self.put(value, event, size, anchored=True)

    def on_MappingStartEvent(self, event: Any) -> None:
        self.open({}, event)

    def on_SequenceStartEvent(self, event: Any) -> None:
        self.open([], event)

    def on_MappingEndEvent(self, _event: Any) -> None:
        self.close()

    def on_SequenceEndEvent(self, _event: Any) -> None:
        self.close()

    def open(self, value: Any, event: Any) -> None:
        self.tag(event)
        if len(self.stack) >= MAX_DEPTH:
            self.stop("too-deep", f"values are nested more than {MAX_DEPTH} deep", self.place(event))
        if self.wants_key():
            self.stop("key-not-text", "a key must be text", self.place(event), "put quotes around it")
        path = self.put(value, event, 1)
        self.stack.append(_Frame(value, path, event.anchor))

    def close(self) -> None:
        frame = self.stack.pop()
        if self.stack:
            self.stack[-1].size += frame.size
        if frame.anchor:
            self.anchors[frame.anchor] = (frame.value, frame.size)

    def wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def take_key(self, event: Any) -> None:
        frame, place = self.stack[-1], self.place(event)
        if event.value == "<<":
            self.fail("merge-key", "merge keys `<<` are not supported", place, "write the keys out")
        path = (*frame.path, event.value)
        frame.apart = ""
        if path in self.keys:
            frame.apart = f" @{place[0]}:{place[1]}"
            message = f"key `{event.value}` is given twice"
            self.fail("duplicate-key", message, place, "remove one of the two", self.keys[path])
        else:
            self.keys[path] = place
        frame.key = event.value

    def put(self, value: Any, event: Any, size: int, anchored: bool = False) -> KeyPath:
        """Store a value in the open container; returns its path."""
        place = self.place(event)
        self.total += size
        if self.total > MAX_NODES:
            self.stop("too-many-values", f"the file holds more than {MAX_NODES:,} values, aliases expanded", place)
        if not anchored and event.anchor and not isinstance(value, dict | list):
            self.anchors[event.anchor] = (value, 1)
        if not self.stack:
            self.documents.append(value)
            self.spans[()] = place
            return ()
        frame = self.stack[-1]
        if isinstance(frame.value, dict):
            if frame.key is None:
                self.stop("key-not-text", "a key must be text", place, "put quotes around it")
            step: str | int = (frame.key or "") + frame.apart
            frame.value[frame.key] = value
            frame.key = None
        else:
            step = len(frame.value)
            frame.value.append(value)
        if not isinstance(value, dict | list) or anchored:
            frame.size += size
        path = (*frame.path, step)
        self.spans[path] = place
        return path

    def tag(self, event: Any) -> None:
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self.fail(
                "tag", f"the tag `{event.tag}` is not supported", self.place(event), "remove it: the schema decides types"
            )

    def place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        line = self.lines[start.line] if start.line < len(self.lines) else ""
        last = end.column if end.line == start.line and end.column > start.column else len(line.rstrip())
        return start.line + 1, start.column + 1, max(last, start.column + 1) + 1


def walk(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every (path, scalar) of a tree, in order. Bounded by MAX_NODES because the tree is."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from walk(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from walk(value, (*path, index))
    else:
        yield path, tree
