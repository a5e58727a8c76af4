# SPDX-License-Identifier: Apache-2.0
"""ibnetdiscover: what the subnet manager's view of an InfiniBand fabric is, at port level.

Plain output writes a block a device: identities, a header line (`Switch`, `Ca`, `Rt`), then one line a connected port; every
cable stands in the blocks of both ends. `-p` writes one line a port. Layouts: rdma-core, infiniband-diags/ibnetdiscover.c
(out_switch_port, out_ca_port, dump_ports_report). Lost tabs, terminal banners and CR LF are tolerated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.source import Source
from placement.ir import Kind

_HEADER = re.compile(r'(Switch|Ca|Rt)\s*(\d+)\s*"([SHR])-([0-9a-fA-F]{1,16})"\s*(?:#\s*"(.*)"(.*))?$')
_PORT = re.compile(
    r'\[(\d+)\](?:\[ext (\d+)\])?(?:\(([0-9a-fA-F]+)\))?\s*"([SHR])-([0-9a-fA-F]{1,16})"\[(\d+)\](?:\[ext (\d+)\])?'
    r"(?:\(([0-9a-fA-F]+)\))?\s*(?:#\s*(.*))?$"
)
_TAIL = re.compile(r'(?:lid (\d+) lmc \d+\s*)?"(.*)"\s*lid (\d+)\s*(\d{1,2}x\S+)?')
_IDENTITY = re.compile(r"(vendid|devid|sysimgguid|switchguid|caguid|rtguid)=0x([0-9a-fA-F]{1,16})")
_SWITCH_TEXT = re.compile(r"(?:MF0;)?([^;:]+):([^:/]+)((?:/[A-Z]+\d+)*)\Z")
_ADAPTER_TEXT = re.compile(r"(\S+)\s+(\S+)\Z")
_GENERIC = re.compile(r"mellanox technologies|nvidia|connectx|bluefield|infiniscale|switchx|quantum|^mt\d+", re.IGNORECASE)
_KINDS = {"S": Kind.SWITCH, "H": Kind.ADAPTER, "R": Kind.ROUTER}
_Key = tuple[str, int, str, int]  # device, port, device, port
_PERMISSIVE = 65535  # the LID of a port that the subnet manager has not configured (IBTA)


def looks_like(_name: str, head: str) -> bool:
    return bool(re.search(r'^(?:Switch|Ca|Rt)\s*\d+\s*"[SHR]-[0-9a-fA-F]+"', head, re.MULTILINE))


@dataclass
class _Block:
    """The device that lines belong to."""

    device: int = -1
    kind: str = ""
    guid: str = ""
    ids: dict[str, str] = field(default_factory=dict)


@dataclass
class _Link:
    """One end's account of a cable: who says so, at which line, and what it calls the other end."""

    line: int
    rate: str
    text: str
    lid: int
    label: tuple[str, str]


@dataclass
class _Told:
    """What the lines of ports say: accounts of cables, LIDs of adapters; devices with a record, and those with a line that
    cannot be read.
    """

    links: dict[_Key, _Link] = field(default_factory=dict)
    lids: dict[int, int] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    headed: set[str] = field(default_factory=set)


def read(source: Source) -> Reading:
    """Plain ibnetdiscover output."""
    out = Builder("ibnetdiscover", source.file)
    block = _Block()
    told = _Told()
    for number, raw in enumerate(source.lines, start=1):
        line = raw.strip()
        if not line:
            continue
        if line[0] == "[":
            _port(out, block, told, line, number)
        elif identity := _IDENTITY.match(line):
            if identity[1] == "vendid" or block.device >= 0:
                block = _Block()
            block.ids[identity[1]] = identity[2]
        elif header := _HEADER.match(line):
            block = _header(out, header, block.ids, number)
            told.headed.add(block.guid)
        elif "generated on" in line:
            out.taken = line.partition("generated on")[2].strip()
        elif line[0] != "#" and not line.startswith(("Chassis ", "DR path")) and "PuTTY log" not in line:
            out.bad(number, "not-a-record", f"`{line[:60]}` is no line of ibnetdiscover")
    _cables(out, told)
    _lids(out, told.lids)
    return out.done()


def _header(out: Builder, match: re.Match[str], ids: dict[str, str], line: int) -> _Block:
    ports, letter, guid, text, rest = match[2], match[3], match[4].zfill(16).lower(), match[5] or "", match[6] or ""
    lid = re.search(r"lid (\d+)", rest)
    key, twin = f"{letter}-{guid}", 1
    while out.find(key) is not None:  # the same identity again: kept, so that the check can name both
        twin += 1
        key = f"{letter}-{guid}#{twin}"
    device = out.device(
        key, *_named(letter, text), line, text=text, guid=int(guid, 16), system=int(ids.get("sysimgguid", "0"), 16),
        lid=int(lid[1]) if lid else 0, chip=int(ids.get("devid", "0"), 16), ports=int(ports[:9]),
        unit=_unit(letter, text), model=_model(letter, text),
    )  # fmt: skip
    return _Block(device, letter, key)


def _port(out: Builder, block: _Block, told: _Told, line: str, number: int) -> None:
    match = _PORT.match(line)
    if match is None or block.device < 0:
        reason = "is no port of ibnetdiscover" if match is None else "stands before the header of its device"
        out.bad(number, "bad-port", f"`{line[:60]}` {reason}")
        told.damaged.add(block.guid)
        return
    peer = f"{match[4]}-{match[5].zfill(16).lower()}"
    tail = _TAIL.match(match[9] or "")
    own_lid = int(tail[1]) if tail and tail[1] else 0
    if own_lid and block.kind == "H":
        told.lids.setdefault(block.device, own_lid)
    if tail is None or not tail[4]:
        out.bad(number, "no-speed", f"port {match[1]} says no speed; the cable is kept")
    link = _Link(
        number,
        (tail[4] or "") if tail else "",
        tail[2] if tail else "",
        int(tail[3]) if tail else 0,
        (match[2] or "", match[7] or ""),
    )
    key = (block.guid, int(match[1][:9]), peer, int(match[6][:9]))
    if key in told.links:
        first = told.links[key].line
        out.bad(number, "port-twice", f"port {match[1]} is listed twice with the same peer, first at line {first:,}")
    else:
        told.links[key] = link


def _cables(out: Builder, told: _Told) -> None:
    """Each cable once: the two accounts of it are joined; a peer without a block of its own becomes a device from what is
    said.
    """
    orphans: dict[str, int] = {}
    links = _untwinned(told.links)
    whole = told.headed - told.damaged
    half: dict[str, list[_Link]] = {}
    for key, link in links.items():
        mine, port, peer, peer_port = key
        back = links.get((peer, peer_port, mine, port))
        if back is not None and (back.line < link.line or (back is link and port > peer_port)):
            continue  # told from the other end already
        a, b = out.find(mine), out.find(peer)
        assert a is not None
        if b is None:
            guid = int(peer.partition("-")[2], 16)
            b = out.device(
                peer, *_named(peer[0], link.text), link.line, text=link.text, guid=guid, lid=link.lid,
                unit=_unit(peer[0], link.text), model=_model(peer[0], link.text),
            )  # fmt: skip
            orphans.setdefault(peer, link.line)
        if back is None and peer in whole:
            half.setdefault(peer, []).append(link)
        if back is not None and back.rate != link.rate:
            message = (
                f"the ends of the cable {_end(back, port)} -- {_end(link, peer_port)} disagree on its speed: "
                f"{link.rate or 'none'} here, {back.rate or 'none'} at line {back.line:,}"
            )
            out.bad(link.line, "ends-disagree", message)
        label_a, label_b = (f"ext {text}" if text else "" for text in link.label)
        out.cable(
            a, port, b, peer_port, link.line, rate=link.rate, back=back.line if back else 0, label_a=label_a, label_b=label_b
        )
    for unheard in half.values():
        cables = f"{len(unheard):,} cables of" if len(unheard) > 1 else "a cable of"
        message = f"{cables} {_end(unheard[0])} {'are' if len(unheard) > 1 else 'is'} told by the other end only"
        out.bad(unheard[0].line, "one-sided", message, "the record of the device is cut, or edited: capture again")
    if orphans:
        line = min(orphans.values())
        noun = "devices have" if len(orphans) > 1 else "device has"
        message = f"{len(orphans):,} connected {noun} no record of their own: the capture is cut or incomplete"
        out.bad(line, "incomplete", message, "capture again, or give the rest of the output")


def _end(link: _Link, port: int = 0) -> str:
    """The device that a line tells of, as its own description names it, and the port there."""
    match = _SWITCH_TEXT.match(link.text)
    return (match[1].strip() if match else " ".join(link.text.split())) + (f"/{port}" if port else "")


def _untwinned(links: dict[_Key, _Link]) -> dict[_Key, _Link]:
    """Cables of devices that share an identity, each given to the one whose own record tells of it."""
    twins: dict[str, set[str]] = {}
    for mine, _, _, _ in links:
        if "#" in mine:
            twins.setdefault(mine.partition("#")[0], set()).add(mine)
    if not twins:
        return links
    out: dict[_Key, _Link] = {}
    for (mine, port, peer, peer_port), link in links.items():
        owner = next((t for t in sorted(twins.get(peer, ())) if (t, peer_port, mine, port) in links), peer)
        out[mine, port, owner, peer_port] = link
    return out


def _lids(out: Builder, lids: dict[int, int]) -> None:
    for device, lid in lids.items():
        out.set_lid(device, lid)


def _named(letter: str, text: str) -> tuple[Kind, str]:
    """Kind and name: the switch, or the host of an adapter; "" where the description names nobody."""
    if letter == "S":
        match = _SWITCH_TEXT.match(text)
        return Kind.SWITCH, match[1].strip() if match else text
    if "Aggregation Node" in text:
        return Kind.SERVICE, ""
    match = _ADAPTER_TEXT.match(text)
    if match is None:
        return _KINDS[letter], "" if not text or _GENERIC.search(text) or " " in text else text
    return _KINDS[letter], "" if _GENERIC.search(text) else match[1]


def _unit(letter: str, text: str) -> str:
    if letter == "S":
        match = _SWITCH_TEXT.match(text)
        unit = match[3].strip("/") if match else ""
        return unit if "/" in unit else ""
    match = _ADAPTER_TEXT.match(text)
    return match[2] if match and not _GENERIC.search(text) else ""


def _model(letter: str, text: str) -> str:
    match = _SWITCH_TEXT.match(text)
    return match[2] if match and letter == "S" else ""


# ---------------------------------------------------------------------------------------------------- ibnetdiscover -p

_LINE = re.compile(
    r"(SW|CA|RT)\s+(\d+)\s+(\d+)\s+0x([0-9a-fA-F]{1,16})\s+(\d{1,2}x)\s+(\S+)"
    r"(?:\s+-\s+(SW|CA|RT)\s+(\d+)\s+(\d+)\s+0x([0-9a-fA-F]{1,16})\s+\(\s*'(.*)' - '(.*)'\s*\)|\s+'(.*)')?\s*$"
)
_LETTER = {"SW": "S", "CA": "H", "RT": "R"}


def looks_like_ports(_name: str, head: str) -> bool:
    return bool(re.search(r"^(?:SW|CA|RT)\s+\d+\s+\d+\s+0x[0-9a-fA-F]+\s+(?:\d+x|\?\?)", head, re.MULTILINE))


def read_ports(source: Source) -> Reading:
    """`ibnetdiscover -p`: port GUIDs identify adapters (one port each), node GUIDs switches."""
    out = Builder("ibnetdiscover-ports", source.file)
    seen: dict[tuple[str, int, str, int], int] = {}
    for number, raw in enumerate(source.lines, start=1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        match = _LINE.match(line)
        if match is None:
            if not re.match(r"(?:SW|CA|RT)\s+\d+\s+\d+\s+0x[0-9a-fA-F]+\s+\?\?", line):  # a port without a link has no speed
                out.bad(number, "not-a-record", f"`{line[:60]}` is no line of ibnetdiscover -p")
            continue
        _port_line(out, match, seen, number)
    return out.done()


def _port_line(out: Builder, match: re.Match[str], seen: dict[tuple[str, int, str, int], int], number: int) -> None:
    mine, port = f"{_LETTER[match[1]]}-{match[4].zfill(16).lower()}", int(match[3][:9])
    text = match[11] if match[7] else match[13] or ""
    a = out.device(
        mine, *_named(mine[0], text), number, text=text, guid=int(match[4], 16), lid=int(match[2]), unit=_unit(mine[0], text),
        model=_model(mine[0], text),
    )  # fmt: skip
    if not match[7]:
        return
    peer, peer_port = f"{_LETTER[match[7]]}-{match[10].zfill(16).lower()}", int(match[9][:9])
    if (peer, peer_port, mine, port) in seen and (peer, peer_port) != (mine, port):
        out.set_back(seen[peer, peer_port, mine, port], number)
        return
    b = out.device(
        peer, *_named(peer[0], match[12]), number, text=match[12], guid=int(match[10], 16), lid=int(match[8]),
        unit=_unit(peer[0], match[12]), model=_model(peer[0], match[12]),
    )  # fmt: skip
    seen[mine, port, peer, peer_port] = out.cable(a, port, b, peer_port, number, rate=match[5] + match[6])
