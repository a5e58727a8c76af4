# SPDX-License-Identifier: Apache-2.0
"""Slurm: topology.conf (tree and block plugins) and topology.yaml (25.05 and later, several topologies).

Grammar: topology.conf(5) and topology.yaml(5) of Slurm 26.05.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.records import mapping, sequence, text_of, whole_of, yaml_documents
from placement.ingest.source import Source
from placement.ingest.trees import Tree, blocks, host_names, unsaid

MAX_NAME = 64  # characters of a switch name that slurmctld takes
_PAIR = re.compile(r"([A-Za-z_]+)=(\S*)")
UNSAID = "rails, ports, speeds and GPUs"


def looks_like(_name: str, head: str) -> bool:
    return bool(re.search(r"^\s*(?:SwitchName|BlockName|BlockSizes)\s*=", head, re.MULTILINE | re.IGNORECASE))


def read(source: Source) -> Reading:
    """topology.conf: `SwitchName=` and `BlockName=` lines."""
    out = Builder("slurm", source.file, logical=True)
    tree = Tree(out, "Slurm switch")
    block: dict[str, tuple[int, list[str]]] = {}
    sizes: tuple[int, list[int]] = (0, [])
    for number, line in _joined(source):
        pairs = {k.lower(): v for k, v in _PAIR.findall(line)}
        rest = _PAIR.sub("", line).strip()
        if rest or not pairs:
            out.bad(number, "bad-record", f"`{(rest or line)[:60]}` is no `Key=value` of topology.conf")
        if "switchname" in pairs:
            _switch(out, tree, pairs, number)
        elif "blockname" in pairs:
            _block(out, block, pairs["blockname"], pairs.get("nodes", ""), number)
        elif "blocksizes" in pairs:
            sizes = number, _sizes(out, pairs["blocksizes"].split(","), number)
        elif pairs:
            out.bad(number, "not-used", f"`{next(iter(pairs))}` says nothing about the topology", severity=Severity.INFO)
    tree.lower()
    blocks(out, block, sizes[1], sizes[0])
    unsaid(out, UNSAID)
    return out.done()


def _joined(source: Source) -> Iterator[tuple[int, str]]:
    """Lines without comments, continuations joined to the line that they continue."""
    held, first = "", 0
    for number, raw in enumerate(source.lines, start=1):
        line = raw.split("#", 1)[0].strip()
        first = first if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        if held or line:
            yield first, (held + line).strip()
        held = ""
    if held.strip():
        yield first, held.strip()


def _switch(out: Builder, tree: Tree, pairs: dict[str, str], line: int) -> None:
    for name in host_names(out, pairs["switchname"], line, "switch name"):
        _name_length(out, name, line)
        if before := tree.known(name):
            out.bad(line, "duplicate-name", f"switch `{name}` is described twice, first at line {before:,}; both are used")
        children = host_names(out, pairs["switches"], line) if pairs.get("switches") else []
        hosts = host_names(out, pairs["nodes"], line) if pairs.get("nodes") else []
        tree.switch(name, line, children, hosts)
    for key in pairs.keys() - {"switchname", "switches", "nodes", "linkspeed"}:
        out.bad(line, "bad-record", f"`{key}` is no key of a switch")


def _name_length(out: Builder, name: str, line: int) -> None:
    if len(name) > MAX_NAME:
        out.bad(
            line, "switch-name", f"the name of switch `{name[:24]}…` has {len(name)} characters: slurmctld takes {MAX_NAME}"
        )


def _block(out: Builder, block: dict[str, tuple[int, list[str]]], name: str, nodes: str, line: int) -> None:
    if name in block:
        message = f"block `{name}` is described twice, first at line {block[name][0]:,}; both are used"
        out.bad(line, "duplicate-name", message)
    at, hosts = block.get(name, (line, []))
    block[name] = at, hosts + (host_names(out, nodes, line) if nodes else [])
    if not nodes:
        out.bad(line, "empty-switch", f"block `{name}` has no hosts", severity=Severity.INFO)


def _sizes(out: Builder, texts: list[Any], line: int) -> list[int]:
    sizes = [whole_of(t, 0) for t in texts]
    for text, size in zip(texts, sizes, strict=True):
        if size <= 0:
            out.bad(line, "block-sizes", f"`{str(text)[:40]}` is no number of hosts")
    return [s for s in sizes if s > 0]


# ------------------------------------------------------------------------------------------------------- topology.yaml


def looks_like_yaml(_name: str, head: str) -> bool:
    return bool(re.search(r"^\s*-\s+(?:\{\s*)?topology\s*:", head, re.MULTILINE)) and bool(
        re.search(r"\b(?:tree|block|flat|ring|torus3d)\s*:", head)
    )


def read_yaml(source: Source) -> Reading:
    """topology.yaml: the tree and the blocks that the cluster uses by default, or the first ones."""
    out = Builder("slurm-yaml", source.file, logical=True)
    tree = Tree(out, "Slurm switch")
    used: dict[str, str] = {}
    for doc in yaml_documents(out, source):
        items = sequence(doc.tree)
        if not items:
            out.error(1, "bad-record", "the file is no list of topologies", "each starts with `- topology: NAME`")
        order = sorted(
            range(len(items)), key=lambda i: text_of(mapping(items[i]).get("cluster_default")).lower() not in ("true", "yes")
        )
        for i in order:
            _topology(out, tree, used, doc, i)
    tree.lower()
    unsaid(out, UNSAID)
    return out.done()


def _topology(out: Builder, tree: Tree, used: dict[str, str], doc: Any, i: int) -> None:
    item, line = mapping(doc.tree[i]), doc.span((i,)).line
    name = text_of(item.get("topology")) or f"number {i + 1}"
    kind = next((k for k in ("tree", "block", "flat", "ring", "torus3d") if k in item), "")
    if not kind:
        out.bad(line, "bad-record", f"topology `{name}` is of no kind that is known", "tree, block, flat, ring or torus3d")
    elif kind in ("flat", "ring", "torus3d"):
        message = f"topology `{name}` is {kind}: it says nothing about switches or NVLink domains"
        out.bad(line, "not-used", message, severity=Severity.INFO)
    elif kind in used:
        message = f"topology `{name}` is a second {kind}; `{used[kind]}` is used"
        out.bad(line, "not-used", message, severity=Severity.INFO)
    else:
        used[kind] = name
        (_yaml_tree if kind == "tree" else _yaml_block)(out, tree, doc, i)


def _yaml_tree(out: Builder, tree: Tree, doc: Any, i: int) -> None:
    for k, raw in enumerate(sequence(mapping(doc.tree[i]["tree"]).get("switches"))):
        line = doc.span((i, "tree", "switches", k)).line
        pairs = {"switches" if key == "children" else key: text_of(v) for key, v in mapping(raw).items()}
        if not pairs.get("switch"):
            out.bad(line, "bad-record", "a switch without a name")
            continue
        _switch(out, tree, {"switchname": pairs.pop("switch"), **pairs}, line)


def _yaml_block(out: Builder, _tree: Tree, doc: Any, i: int) -> None:
    item = mapping(doc.tree[i]["block"])
    block: dict[str, tuple[int, list[str]]] = {}
    for k, raw in enumerate(sequence(item.get("blocks"))):
        line = doc.span((i, "block", "blocks", k)).line
        name = text_of(mapping(raw).get("block"))
        if not name:
            out.bad(line, "bad-record", "a block without a name")
            continue
        _block(out, block, name, text_of(mapping(raw).get("nodes")), line)
    at = doc.span((i, "block", "block_sizes")).line
    blocks(out, block, _sizes(out, sequence(item.get("block_sizes")), at), at)
