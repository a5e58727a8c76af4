# SPDX-License-Identifier: Apache-2.0
"""Trees of switches as schedulers write them: collected in any order, checked, lowered to a logical `Wired`.

The checks and their words follow slurmctld (src/plugins/topology/tree/switch_record.c), which refuses the whole file;
here each is one finding at its line, and what can be used is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from placement.diag import Severity
from placement.hostlist import HostlistError, expand, fold
from placement.ingest.build import Builder
from placement.ir import Kind

MAX_HOSTS = 2_000_000
SHOWN = 120  # characters of a folded list in a message


def host_names(out: Builder, text: str, line: int, what: str = "host list") -> list[str]:
    """Names of a host list; a list that cannot be read is a finding and names nobody."""
    try:
        return [str(name) for name in expand(text, MAX_HOSTS)]
    except HostlistError as error:
        out.bad(line, "bad-hostlist", f"the {what} cannot be read: {error.message}", error.help)
        return []


@dataclass
class _Switch:
    line: int
    children: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)


@dataclass
class Tree:
    """Switches by name. `model` is what the source calls its switches (`Slurm switch`)."""

    out: Builder
    model: str = ""
    _switch: dict[str, _Switch] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._switch)

    def switch(self, name: str, line: int, children: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        """Add a switch, or say more about it."""
        known = self._switch.setdefault(name, _Switch(line))
        known.children.extend(children)
        known.hosts.extend(hosts)

    def known(self, name: str) -> int:
        """Line of a switch, 0 if there is none of that name."""
        return self._switch[name].line if name in self._switch else 0

    def lower(self) -> None:
        """Check, and write devices and cables into the builder."""
        parent = self._parents()
        self._cycles(parent)
        leaf = self._leafs()
        roots = [name for name in self._switch if name not in parent]
        self._roots(roots, parent, leaf)
        self._depths(parent, leaf)
        self._write(parent, leaf)

    def _parents(self) -> dict[str, str]:
        """Parent of each switch: the first that names it."""
        parent: dict[str, str] = {}
        for name, switch in self._switch.items():
            for child in switch.children:
                if child not in self._switch:
                    message = f"switch `{name}` has a child `{child}` that is nowhere described"
                    self.out.error(switch.line, "unknown-child", message, "describe the child, or remove it from the list")
                elif child == name:
                    self.out.error(switch.line, "cycle", f"switch `{name}` is its own child")
                elif child in parent and parent[child] != name:
                    message = f"switch `{child}` has two parents, `{parent[child]}` and `{name}`; the first is kept"
                    help = "a tree has one way up; several spines are one switch in it"
                    self.out.error(switch.line, "two-parents", message, help)
                else:
                    parent[child] = name
        return parent

    def _cycles(self, parent: dict[str, str]) -> None:
        """Cut each ring of parents at the switch that is described last."""
        done: set[str] = set()
        for name in self._switch:
            path, at = [], name
            seen: set[str] = set()
            while at in parent and at not in done and at not in seen:
                seen.add(at)
                path.append(at)
                at = parent[at]
            if at in seen:
                ring = path[path.index(at) :]
                last = max(ring, key=lambda n: self._switch[n].line)
                message = f"the switches {' > '.join(reversed(ring[:6]))} are a ring: this is not a tree"
                self.out.error(self._switch[last].line, "cycle", message, "remove one of the links")
                del parent[last]
            done.update(path)

    def _leafs(self) -> dict[str, str]:
        """Leaf of each host: the first that names it."""
        leaf: dict[str, str] = {}
        twice: dict[str, dict[str, None]] = {}
        again: dict[str, list[str]] = {}
        for name, switch in self._switch.items():
            for host in switch.hosts:
                if host not in leaf:
                    leaf[host] = name
                elif leaf[host] != name:
                    twice.setdefault(name, {})[host] = None
                else:
                    again.setdefault(name, []).append(host)
        for name, hosts in twice.items():
            others = sorted({leaf[h] for h in hosts})
            message = f"{fold(list(hosts), SHOWN)} under `{name}` {_are(hosts)} under {_some(others)} too; the first is kept"
            self.out.bad(self._switch[name].line, "several-leafs", message, "a host hangs on one leaf of a tree")
        for name, doubles in again.items():
            message = f"`{name}` lists {fold(doubles, SHOWN)} twice"
            self.out.bad(self._switch[name].line, "duplicate-name", message)
        return leaf

    def _roots(self, roots: Sequence[str], parent: dict[str, str], leaf: dict[str, str]) -> None:
        top = {host: _top(name, parent) for host, name in leaf.items()}
        used = [r for r in roots if r in set(top.values())]
        if len(used) > 1:
            first, *rest = used
            apart = [h for h, r in top.items() if r != first]
            message = f"{len(used)} switches have no parent: {fold(apart, SHOWN)} cannot be reached from `{first}`"
            help = "if these are separate fabrics, give each a file; else describe the switch that joins them"
            self.out.bad(self._switch[rest[0]].line, "islands", message, help)
        idle = [n for n, s in self._switch.items() if not s.children and not s.hosts]
        for name in idle:
            self.out.bad(
                self._switch[name].line,
                "empty-switch",
                f"switch `{name}` has neither children nor hosts",
                severity=Severity.INFO,
            )

    def _depths(self, parent: dict[str, str], leaf: dict[str, str]) -> None:
        depth = {name: _depth(name, parent) for name in dict.fromkeys(leaf.values())}
        roots = {_top(name, parent) for name in depth}
        if len(roots) == 1 and len(set(depth.values())) > 1:
            low, high = min(depth.values()), max(depth.values())
            odd = [n for n, d in depth.items() if d == low]
            message = f"the tree is unbalanced: leafs are {low} to {high} tiers below the root, `{odd[0]}` is nearest"
            self.out.bad(self._switch[odd[0]].line, "unbalanced", message, severity=Severity.INFO)

    def _write(self, parent: dict[str, str], leaf: dict[str, str]) -> None:
        out = self.out
        index = {n: out.device(f"S\0{n}", Kind.SWITCH, n, s.line, model=self.model) for n, s in self._switch.items()}
        for child, name in parent.items():
            out.cable(index[child], -1, index[name], -1, self._switch[name].line)
        for host, name in leaf.items():
            line = self._switch[name].line
            out.cable(out.device(f"H\0{host}", Kind.ADAPTER, host, line), -1, index[name], -1, line)
            out.host(host, line)


def _top(name: str, parent: dict[str, str]) -> str:
    while name in parent:
        name = parent[name]
    return name


def _depth(name: str, parent: dict[str, str]) -> int:
    depth = 0
    while name in parent:
        name, depth = parent[name], depth + 1
    return depth


def _are(many: Iterable[str]) -> str:
    return "is" if len(list(many)) == 1 else "are"


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(f"`{n}`" for n in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def unsaid(out: Builder, what: str) -> None:
    """Say once what a format cannot say."""
    out.bad(1, "unsaid", f"the format says nothing of {what}", "merge a file that does, or give options", Severity.INFO)


def blocks(out: Builder, block: dict[str, tuple[int, list[str]]], sizes: Sequence[int], line: int) -> None:
    """Blocks of a scheduler as NVLink domains, and the checks of their sizes.

    Slurm: every size is the smallest times a power of two (topology.conf(5), BlockSizes).
    """
    seen: dict[str, str] = {}
    size: Counter[str] = Counter(dict.fromkeys(block, 0))
    for name, (at, hosts) in block.items():
        for host in hosts:
            if host in seen:
                out.bad(at, "several-leafs", f"`{host}` is in block `{seen[host]}` and in `{name}`; the first is kept")
                continue
            seen[host] = name
            size[name] += 1
            out.host(host, at, domain=name)
    if not sizes:
        return
    base = sizes[0]
    odd = [s for s in sizes if s <= 0 or base <= 0 or s % base or (s // base) & (s // base - 1)]
    if odd or list(sizes) != sorted(set(sizes)):
        message = f"BlockSizes {','.join(map(str, sizes))} are not {base} times ascending powers of two"
        out.bad(line, "block-sizes", message, f"write {base},{2 * base},{4 * base} and so on")
    small = {n: many for n, many in size.items() if many < base}
    if small:
        name = next(iter(small))
        message = (
            f"{len(small)} of {len(block)} blocks have fewer hosts than the base block of {base}: `{name}` has {small[name]}"
        )
        out.bad(block[name][0], "partial-block", message, "hosts are missing, or the base block is smaller")
    uneven = sorted({many for many in size.values() if many >= base})
    if len(uneven) > 1:
        message = f"blocks have {uneven[0]} to {uneven[-1]} hosts"
        out.bad(line, "partial-block", message, severity=Severity.INFO)
