# SPDX-License-Identifier: Apache-2.0
# X cable between two tiers   Q expected cable   D device   J group
"""Faults between switches: cables missing, moved, exchanged or extra; switches that are missing or cut off."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.audit_gaps import gap_faults
from placement.fabric.wiring.chains import Chain, chains
from placement.fabric.wiring.faults import Fault, Names, count
from placement.fabric.wiring.switch_view import SwitchView
from placement.fabric.wiring.uplinks import Boundary
from placement.ir._array import Ints

ALL = 0.8  # of the cables of a switch are gone: the switch is to blame
HALF = 0.5  # of its uplinks are gone: one finding, whoever is at the other end
E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO


def switch_faults(view: SwitchView) -> Iterator[Fault]:
    """Every fault of one boundary."""
    lost: list[int] = []
    for chain in _chains(view.b):
        if chain.actual:
            yield _rewired(view, chain)
        else:
            lost.extend(chain.expected)
    yield from _missing(view, lost)
    yield from gap_faults(view)


def _chains(b: Boundary) -> list[Chain]:
    ruled_X = b.ruled_J[b.group_D[b.low_X]]
    out = _by_count(b, np.flatnonzero(~ruled_X), np.flatnonzero(b.port_Q < 0))
    rows_X, rows_Q = np.flatnonzero(ruled_X), np.flatnonzero(b.port_Q >= 0)
    if not len(rows_X):
        return out
    span = int(max(b.port_X.max(), b.peer_port_X.max(), b.port_Q.max(initial=0), b.peer_port_Q.max(initial=0))) + 1
    unknown = -1 - np.arange(len(b.low_Q))
    upper = np.where(b.peer_port_Q >= 0, b.high_Q * span + b.peer_port_Q, unknown)
    want = np.stack([b.low_Q * span + b.port_Q, upper], axis=1)
    have = np.stack([b.low_X * span + b.port_X, b.high_X * span + b.peer_port_X], axis=1)
    free_Q = b.peer_port_Q < 0  # rule B is silent: a cable from the right port to the right switch is as expected
    if free_Q.any():
        size = int(max(b.high_X.max(), b.high_Q.max())) + 1
        real = dict(zip((have[:, 0] * size + b.high_X).tolist(), have[:, 1].tolist(), strict=True))
        code = (want[:, 0] * size + b.high_Q).tolist()
        want[:, 1] = [real.get(c, w) if f else w for c, w, f in zip(code, want[:, 1].tolist(), free_Q.tolist(), strict=True)]
    for chain in chains(want[rows_Q], have[rows_X]):
        out.append(Chain(tuple(rows_Q[list(chain.expected)].tolist()), tuple(rows_X[list(chain.actual)].tolist())))
    return out


def _by_count(b: Boundary, rows_X: Ints, rows_Q: Ints) -> list[Chain]:
    """Without ports: pairs of switches with fewer or more cables than the pattern."""
    have: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    want: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for x, pair in zip(rows_X.tolist(), zip(b.low_X[rows_X].tolist(), b.high_X[rows_X].tolist(), strict=True), strict=True):
        have[pair].append(x)
    for q, pair in zip(rows_Q.tolist(), zip(b.low_Q[rows_Q].tolist(), b.high_Q[rows_Q].tolist(), strict=True), strict=True):
        want[pair].append(q)
    out = [Chain(tuple(q[len(have.get(pair, ())) :]), ()) for pair, q in want.items() if len(have.get(pair, ())) < len(q)]
    return out + [
        Chain((), tuple(x[len(want[pair]) :])) for pair, x in have.items() if want and len(x) > len(want.get(pair, ()))
    ]


def _rewired(view: SwitchView, chain: Chain) -> Fault:
    b, n = view.b, len(chain.actual)
    line, file = view.names.place(int(b.cable_X[chain.actual[0]]))
    expected, actual = tuple(view.expected(q) for q in chain.expected), tuple(view.actual(x) for x in chain.actual)
    pairs_e = Counter((int(b.low_Q[q]), int(b.high_Q[q])) for q in chain.expected)
    pairs_a = Counter((int(b.low_X[x]), int(b.high_X[x])) for x in chain.actual)
    low, high = int(b.low_X[chain.actual[0]]), int(b.high_X[chain.actual[0]])
    names = view.names
    help, severity = "move the cable, or note it in the plan", W_
    if not chain.expected:
        kind, message = (
            "extra-cable",
            f"{count(n, 'cable')} between {names.device(low)} and {names.device(high)} that the pattern does not know",
        )
        help = "check what it is for"
    elif pairs_e == pairs_a and n > 1:
        kind, severity = "crossed-pair", I_
        message = f"{n} cables between {names.device(low)} and {names.device(high)} are crossed among their own ports"
        help = "harmless for traffic; swap the ports so that the next change finds them in order"
    elif pairs_e == pairs_a:
        kind, message = "wrong-port", f"a cable between {names.device(low)} and {names.device(high)} is in the wrong port"
    elif n > 1 and len(chain.expected) == n:
        kind, message = "swapped-uplinks", f"{n} uplinks are exchanged between {_both(names, pairs_a)}"
        help = "exchange the cables at one end"
    else:
        wanted = ", ".join(names.device(int(b.high_Q[q])) for q in chain.expected[:2])
        kind, severity = "wrong-switch", E_
        message = f"{names.device(low)} is cabled to {names.device(high)} instead of {wanted}"
        if int(b.group_D[low]) != int(b.group_D[high]):
            message += ", in another group of the fabric"
    return Fault(
        kind, severity, message, expected, actual, view.group(low),
        devices=tuple(dict.fromkeys(names.device(d) for p in pairs_a for d in p)), cables=n, line=line, file=file, help=help,
        records=tuple(int(b.cable_X[x]) for x in chain.actual),
    )  # fmt: skip


def _both(names: Names, pairs: Counter[tuple[int, int]]) -> str:
    devices = list(dict.fromkeys(names.device(d) for pair in pairs for d in pair))
    return ", ".join(devices[:-1]) + f" and {devices[-1]}"


def _missing(view: SwitchView, lost: list[int]) -> Iterator[Fault]:
    """Expected cables that are nowhere: one fault a switch that lost most of them, else one a pair."""
    b = view.b
    due_low, due_high = Counter(b.low_Q.tolist()), Counter(b.high_Q.tolist())
    low, high = Counter(int(b.low_Q[q]) for q in lost), Counter(int(b.high_Q[q]) for q in lost)
    cut_low = {d for d, n in low.items() if n >= max(3, ALL * due_low[d])}
    cut_high = {d for d, n in high.items() if n >= max(3, ALL * due_high[d])}
    for device in sorted(cut_low | cut_high):
        mine = [q for q in lost if device in (int(b.low_Q[q]), int(b.high_Q[q]))]
        up = device in cut_low
        total = (due_low if up else due_high)[device]
        message = (
            f"{view.names.device(device)} has {total - len(mine)} of its {total} cables {'upwards' if up else 'downwards'}"
        )
        yield Fault(
            "switch-cut-off", E_, message, tuple(view.expected(q) for q in mine), ("no link",) * len(mine), view.group(device),
            victims=view.below(device) if up else (), devices=(view.names.device(device),), cables=len(mine),
            help="check the switch before its cables",
        )  # fmt: skip
    rest = [q for q in lost if int(b.low_Q[q]) not in cut_low and int(b.high_Q[q]) not in cut_high]
    for device, n in sorted(Counter(int(b.low_Q[q]) for q in rest).items()):
        if n >= max(4, HALF * due_low[device]):
            mine = [q for q in rest if int(b.low_Q[q]) == device]
            rest = [q for q in rest if int(b.low_Q[q]) != device]
            yield _half(view, device, mine, due_low[device])
    pairs: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for q in rest:
        pairs[int(b.low_Q[q]), int(b.high_Q[q])].append(q)
    usual = Counter(zip(b.low_Q.tolist(), b.high_Q.tolist(), strict=True))
    for pair, mine in pairs.items():
        names = f"{view.names.device(pair[0])} and {view.names.device(pair[1])}"
        have = usual[pair] - len(mine)
        message = f"{len(mine)} of {count(usual[pair], 'cable')} between {names} {'are' if len(mine) > 1 else 'is'} missing"
        yield Fault(
            "missing-cable", W_ if have or due_low[pair[0]] > usual[pair] else E_, message,
            tuple(view.expected(q) for q in mine), ("no link",) * len(mine), view.group(pair[0]),
            victims=view.below(pair[0]), devices=tuple(view.names.device(d) for d in pair), cables=len(mine),
            help="check the cable and the transceivers at both ports",
        )  # fmt: skip


def _half(view: SwitchView, device: int, mine: list[int], total: int) -> Fault:
    """One finding for a switch that lost half of its uplinks or more: not one for each of its peers."""
    message = f"{len(mine)} of {total} cables upwards of {view.names.device(device)} are missing"
    peers = dict.fromkeys(view.names.device(int(view.b.high_Q[q])) for q in mine)
    return Fault(
        "missing-cable", E_, message, tuple(view.expected(q) for q in mine), ("no link",) * len(mine), view.group(device),
        victims=view.below(device), devices=(view.names.device(device), *peers), cables=len(mine),
        help="check the switch, then the cables and the transceivers at both ports",
    )  # fmt: skip
