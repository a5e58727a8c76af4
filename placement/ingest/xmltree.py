# SPDX-License-Identifier: Apache-2.0
"""XML with lines and without risk: no entities of the file's own, nothing fetched, bounded depth and size.

What stands before a break in the file is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from placement.ingest.build import Builder
from placement.ingest.source import Source, refuse

MAX_DEPTH = 256
MAX_ELEMENTS = 4_000_000  # a GraphML of 660,096 cables with four values each has 3.3 M


@dataclass(slots=True)
class Element:
    """One element; `text` is what stands directly in it."""

    tag: str
    attr: dict[str, str]
    line: int
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def get(self, key: str, default: str = "") -> str:
        return self.attr.get(key, default)

    def find(self, tag: str) -> Iterator[Element]:
        """Descendants of that tag in document order."""
        stack = self.children[::-1]
        while stack:
            item = stack.pop()
            if item.tag == tag:
                yield item
            stack.extend(reversed(item.children))


class _Hostile(Exception):  # noqa: N818  # never leaves this module
    def __init__(self, name: str, message: str) -> None:
        self.name, self.message = name, message
        super().__init__(message)


class _Reader:
    def __init__(self, parser: Any) -> None:
        self.parser = parser
        self.root = Element("", {}, 1)
        self.stack = [self.root]
        self.count = 0

    def start(self, tag: str, attr: dict[str, str]) -> None:
        self.count += 1
        if len(self.stack) > MAX_DEPTH:
            raise _Hostile("xml-too-deep", f"elements are nested more than {MAX_DEPTH} deep")
        if self.count > MAX_ELEMENTS:
            raise _Hostile("xml-too-deep", f"the file has more than {MAX_ELEMENTS:,} elements")
        element = Element(tag.rpartition(":")[2], attr, self.parser.CurrentLineNumber)
        self.stack[-1].children.append(element)
        self.stack.append(element)

    def end(self, _tag: str) -> None:
        self.stack.pop()

    def data(self, text: str) -> None:
        self.stack[-1].text += text if len(self.stack[-1].text) < MAX_DEPTH * 16 else ""

    def entity(self, name: str, *_rest: Any) -> None:
        raise _Hostile("xml-entity", f"the file defines an entity `{name[:40]}`")


def read_xml(out: Builder, source: Source) -> Element:
    """The elements of a file under one nameless root. Raises InputError where it declares entities or is absurdly deep."""
    from xml.parsers import expat  # stdlib; what makes it unsafe (entities, fetching) is refused below

    parser = expat.ParserCreate()
    reader = _Reader(parser)
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = reader.data, reader.entity
    text = source.text
    if text.lstrip().startswith("<?xml") and "?>" in text[:400]:  # the text is decoded already, whatever its first line says
        head, _, rest = text.partition("?>")
        text = "\n" * head.count("\n") + rest
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except _Hostile as hostile:
        help = "write the entity's text where it is used" if hostile.name == "xml-entity" else ""
        raise refuse(source.file, f"ingest/{hostile.name}", hostile.message, parser.CurrentLineNumber, help) from None
    except expat.ExpatError as error:
        kept = f"; {reader.count:,} elements before it are read" if reader.count else ""
        out.bad(error.lineno, "xml-syntax", f"the file is no whole XML: {expat.ErrorString(error.code)}{kept}")
    return reader.root
