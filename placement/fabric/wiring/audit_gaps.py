# SPDX-License-Identifier: Apache-2.0
# Q expected cable   D device   J group
"""Switches that are not there: holes in the ports of those below or above, named by the neighbours of the hole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.ends import joined, vote
from placement.fabric.wiring.faults import Fault, count
from placement.fabric.wiring.names import gaps, letters, natural, numbers, pads_of, renumbered
from placement.fabric.wiring.switch_view import SwitchView

E_ = Severity.ERROR
SHARE = 0.25  # of the ports of a group may be a hole; more is another design


def gap_faults(view: SwitchView) -> Iterator[Fault]:
    """Every switch of either tier that a hole in the ports stands for."""
    yield from _missing_switches(view)
    yield from _missing_below(view)


def _missing_switches(view: SwitchView) -> Iterator[Fault]:
    """Ports that no lower switch of a group uses, though most other groups do, or that are a hole in their range: a switch is
    not there.
    """
    b = view.b
    if not b.ruled or not len(b.low_Q):
        return
    rows = np.flatnonzero(b.port_Q >= 0)
    _, first = np.unique(joined(b.group_D[b.low_Q[rows]], b.port_Q[rows]), return_index=True)
    rule: dict[int, dict[int, int]] = defaultdict(dict)
    for q in rows[first].tolist():
        rule[int(b.group_D[b.low_Q[q]])][int(b.port_Q[q])] = int(b.high_Q[q])
    used = Counter(p for ports in rule.values() for p in ports)
    for group, ports in sorted(rule.items()):
        alike = [g for g in rule if g != group]
        want = {p for p, n in used.items() if 2 * n > len(rule)} if len(alike) >= 2 else set(range(min(ports), max(ports) + 1))
        hole = sorted(want - set(ports))
        each = Counter(Counter(ports.values()).values()).most_common(1)[0][0]
        if not hole and len(alike) < 2:
            hole = _edge(view, group, ports, each)
        if not hole or len(hole) > (max(SHARE * len(want), each) if len(alike) >= 2 else max(SHARE * len(ports), each)):
            continue
        yield from _holes(view, group, hole, rule, alike)


def _holes(view: SwitchView, group: int, hole: list[int], rule: dict[int, dict[int, int]], alike: list[int]) -> Iterator[Fault]:
    """One fault for each switch that a hole in the ports stands for."""
    b = view.b
    ports = rule[group]
    each = Counter(Counter(ports.values()).values()).most_common(1)[0][0]
    members = np.flatnonzero((b.group_D >= 0) & (b.group_D == group) & np.isin(np.arange(len(b.group_D)), b.low_Q))
    names = _hole_names(view, group, hole, rule, alike, each)
    for index in range(0, len(hole), each):
        mine = hole[index : index + each]
        name = names[index // each] if index // each < len(names) else ""
        cables = len(mine) * len(members)
        lost = [f"{view.names.socket(m, p)} -- {name or 'a switch'}" for m in members.tolist() for p in mine]
        message = (
            f"{name or 'a switch'} is missing above {count(len(members), 'switch', 'switches')}: "
            f"{count(cables, 'cable')} of the pattern lead nowhere"
        )
        present = bool(name) and name.casefold() in {n.casefold() for n in view.switches}
        kind = "switch-cut-off" if present else "missing-switch"
        yield Fault(
            kind, E_, message, tuple(lost), ("no link",) * len(lost), view.group(int(members[0])),
            devices=(name,) if name else (), cables=cables,
            help="check power and management of the switch; capture again when it is back",
        )  # fmt: skip


def _hole_names(
    view: SwitchView, group: int, hole: list[int], rule: dict[int, dict[int, int]], alike: list[int], each: int
) -> list[str]:
    """Names of the switches that a hole stands for: by the other groups, or by the gap in the names of this one."""
    here = {p: view.names.device(d) for p, d in rule[group].items()}
    out: list[str] = []
    pads = pads_of(here.values())
    for port in hole[::each]:
        votes: Counter[str] = Counter()
        for other in [g for g in alike if port in rule[g]][:4]:
            there = view.names.device(rule[other][port])
            for shared in [p for p in here if p in rule[other]][:64]:
                theirs = view.names.device(rule[other][shared])
                if letters(theirs) == letters(there) == letters(here[shared]):
                    fields = [h + m - t for h, m, t in zip(numbers(here[shared]), numbers(there), numbers(theirs), strict=True)]
                    votes[renumbered(here[shared], fields, pads) if min(fields, default=0) >= 0 else ""] += 1
        if votes:
            out.append(votes.most_common(1)[0][0])
    if out:
        return out
    found = gaps(list(dict.fromkeys(here.values())))
    return sorted(found, key=natural) if len(found) == len(hole[::each]) else _gap_by_port(here, hole, each)


def _gap_by_port(here: dict[int, str], hole: list[int], each: int) -> list[str]:
    """Name of a switch from its neighbours by port: one number lies between theirs."""
    out = []
    for port in hole[::each]:
        before = next((here[p] for p in sorted(here, reverse=True) if p < port), "")
        after = next((here[p] for p in sorted(here) if p > port), "")
        a, b = numbers(before), numbers(after)
        differ = [i for i in range(min(len(a), len(b))) if a[i] != b[i]]
        if before and after and len(a) == len(b) and len(differ) == 1 and b[differ[0]] - a[differ[0]] == 2:
            out.append(renumbered(before, [*a[: differ[0]], a[differ[0]] + 1, *a[differ[0] + 1 :]], pads_of(here.values())))
        else:
            out.append(_next(here, before, after))
    return out


def _next(here: dict[int, str], before: str, after: str) -> str:
    """Name of the switch before the first, or after the last, of a row; "" between two."""
    row = list(dict.fromkeys(here[p] for p in sorted(here)))
    field = _varying(row)
    if field < 0 or bool(before) == bool(after):
        return ""
    values = numbers(after or before)
    values[field] += -1 if after else 1
    return renumbered(after or before, values, pads_of(row)) if values[field] >= 0 else ""


def _edge(view: SwitchView, group: int, ports: dict[int, int], each: int) -> list[int]:
    """Ports of a switch that is missing before the first one, or after the last one, of a group that no other is like.

    Before: the first is number 2, and the ports below its own are empty. After: the ports downwards are one switch more than
    those upwards, and with it the switch would be full: half down, half up is what such a group is built for.
    """
    b = view.b
    member = int(b.low_Q[np.flatnonzero(b.group_D[b.low_Q] == group)[0]])
    used = view.ports_of(member)
    low, high = min(ports), max(ports)
    before, after = list(range(low - each, low)), list(range(high + 1, high + each + 1))
    name = numbers(view.names.device(ports[low]))
    varying = _varying([view.names.device(d) for d in dict.fromkeys(ports.values())])
    if before[0] >= 1 and not used & set(before) and 0 <= varying < len(name) and name[varying] == 2:
        return before
    down, radix = len(used - set(ports)), int(view.wired.device.ports_D[member])
    full = down + len(ports) + each in (radix, radix - 1)  # the last port of NDR switches is that of the aggregation node
    return after if down - len(ports) == each and full and not used & set(after) else []


def _varying(names: list[str]) -> int:
    """The one number in which names of one shape differ, -1 where there is none."""
    rows = [numbers(n) for n in names]
    if len({letters(n) for n in names}) != 1 or len(rows) < 2:
        return -1
    differ = [i for i in range(len(rows[0])) if len({r[i] for r in rows}) > 1]
    return differ[0] if len(differ) == 1 else -1


def _missing_below(view: SwitchView) -> Iterator[Fault]:
    """Ports that no upper switch of a group uses, between those of two lower switches whose names leave one out."""
    b = view.b
    if not b.ruled or not len(b.low_X):
        return
    rule = vote(joined(b.group_D[b.low_X], b.peer_port_X), b.low_X)
    span = int(b.peer_port_X.max()) + 1
    uppers = Counter(b.group_D[np.unique(b.high_X)].tolist())
    ports: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for key, low, votes in zip(rule.key_K.tolist(), rule.value_K.tolist(), rule.count_K.tolist(), strict=True):
        if 2 * votes > uppers[key // span]:
            ports[key // span][key % span] = low
    known = {n.casefold() for n in view.switches}
    for group, mine in sorted(ports.items()):
        named = {p: view.names.device(d) for p, d in mine.items()}
        hole = sorted(set(range(min(mine), max(mine) + 1)) - set(mine))
        each = Counter(Counter(mine.values()).values()).most_common(1)[0][0]
        first, field = numbers(named[min(mine)]), _varying(list(dict.fromkeys(named.values())))
        if not hole and min(mine) == each + 1 and 0 <= field < len(first) and first[field] == 2:
            hole = list(range(1, each + 1))
        if not hole or len(hole) > max(SHARE * len(mine), each) or len(hole) % each:
            continue
        for start, name in zip(hole[::each], _gap_by_port(named, hole, each), strict=True):
            if name and name.casefold() not in known:
                yield _below(view, group, name, hole[hole.index(start) : hole.index(start) + each])


def _below(view: SwitchView, group: int, name: str, ports: list[int]) -> Fault:
    b = view.b
    highs = sorted(set(b.high_X[b.group_D[b.high_X] == group].tolist()))
    lost = tuple(f"{name} -- {view.names.socket(d, p)}" for d in highs for p in ports)
    message = f"{name} is missing below {count(len(highs), 'switch', 'switches')}: {count(len(lost), 'port')} are empty"
    return Fault(
        "missing-switch", E_, message, lost, ("no link",) * len(lost), view.group(highs[0]), devices=(name,), cables=len(lost),
        help="check power and management of the switch; capture again when it is back",
    )  # fmt: skip
