# SPDX-License-Identifier: Apache-2.0
"""Foreign text files: bounded, of any encoding, as lines. What had to be guessed is a diagnostic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from placement.diag import Diagnostic, InputError, Label, Severity, Span

MAX_BYTES = 512 << 20  # 660,096 cables written from both ends by ibnetdiscover are 150 MB
HEAD = 64 << 10  # what detection looks at
MAX_LINE = 1 << 20  # characters; NCCL and lstopo files may be one line, but not of a gigabyte


@dataclass(frozen=True)
class Source:
    """A text file that was read whole. `lines` without their ends (LF, CR LF, CR); line n is `lines[n - 1]`."""

    file: str
    text: str
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def head(self) -> str:
        return self.text[:HEAD]


def load(path: str | Path, most: int = MAX_BYTES) -> Source:
    """Read a text file. Raises InputError if it is absent, too large or not text; odd bytes become Latin-1 with a warning."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except FileNotFoundError:
        raise refuse(str(file), "input/no-such-file", "there is no such file") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refuse(str(file), "input/unreadable-file", f"the file cannot be read: {reason}") from None
    if len(data) > most:
        raise refuse(str(file), "input/file-too-large", f"the file is larger than {most >> 20} MiB")
    return decode(data, str(file))


def head(path: str | Path) -> str:
    """The first HEAD bytes as text, for detection; "" where the file cannot be read or is not text."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(HEAD)
        return decode(data, str(path)).text
    except (OSError, InputError):
        return ""


def decode(data: bytes, file: str) -> Source:
    """Bytes as a source. Raises InputError where they are no text at all."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Source(file, unix(data.decode("utf-16", errors="replace")))
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    start = data[:HEAD]
    for encoding, odd in (
        ("utf-16-le", 1),
        ("utf-16-be", 0),
    ):  # without a mark, as some consoles write it: every second byte is NUL
        if len(start) > 3 and start[odd::2].count(0) > 0.9 * len(start[odd::2]) and not start[1 - odd :: 2].count(0):
            return Source(file, unix(data.decode(encoding, errors="replace")))
    nul = data.find(b"\0")
    if nul >= 0:
        line = data.count(b"\n", 0, nul) + 1
        raise refuse(
            file, "ingest/not-text", f"byte {nul:,} is NUL: the file is not text", line, "give the text that the tool prints"
        )
    try:
        return Source(file, unix(data.decode("utf-8")))
    except UnicodeDecodeError as error:
        return _mixed(data, file, error)


def _mixed(data: bytes, file: str, error: UnicodeDecodeError) -> Source:
    """Lines that are not UTF-8 are read as Latin-1, which every byte fits."""
    lines, odd = [], []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        try:
            lines.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            odd.append(number)
            lines.append(raw.decode("latin-1"))
    message = (
        f"byte 0x{data[error.start]:02x} is not UTF-8; {len(odd):,} line{'s are' if len(odd) > 1 else ' is'} read as Latin-1"
    )
    label = Label(Span(file, odd[0]))
    found = Diagnostic("ingest/encoding", message, Severity.WARNING, label, help="save the file as UTF-8")
    return Source(file, unix("\n".join(lines)), (found,))


def unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def refuse(file: str, name: str, message: str, line: int = 1, help: str = "") -> InputError:
    return InputError([Diagnostic(name, message, primary=Label(Span(file, line)), help=help)])
