# SPDX-License-Identifier: Apache-2.0
# H host   L tier of groups   U GPU
"""Faults of groups: NVLink domains against leafs, groups that do not nest, hosts in none, trays that are not there.

What hosts and GPUs say of their own health is in nvlink.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.faults import Fault, count, some
from placement.hostlist import fold
from placement.ir import Kind, Wired
from placement.ir._array import Bools, Ints

LINKS = {"sm80": 12, "sm90": 18, "sm100": 18, "sm103": 18}  # NVLinks of a GPU by compute capability: A100 12, later ones 18
RACK_GPUS = 72  # GPUs of the largest NVLink domain that is one rack (NVL72)
FEW = 3  # groups, at least, before the usual size of one means anything
MOST = 0.5  # of the hosts say it, or its absence is no fault


def group_faults(wired: Wired) -> list[Fault]:
    """Every fault, one a cause, in a fixed order."""
    if not len(wired.host):
        return []
    names, domain = wired.host.name_H.tolist(), wired.host.domain_H.tolist()
    return [
        *_across(wired, names, domain), *_too_large(wired, names, domain), *_partial(wired, names, domain),
        *_same_place(wired, names), *_nesting(wired, names), *_ungrouped(wired, names), *_all_weak(wired, names),
    ]  # fmt: skip


def _fault(
    wired: Wired, kind: str, message: str, hosts: Sequence[int], names: Sequence[str], *, expected: tuple[str, ...] = (),
    actual: tuple[str, ...] = (), rack: str = "", help: str = "",
) -> Fault:  # fmt: skip
    h = hosts[0]
    return Fault(
        kind, Severity.WARNING, message, expected, actual, rack=rack, victims=tuple(names[i] for i in hosts),
        line=int(wired.host.line_H[h]), file=wired.files[int(wired.host.file_H[h])], help=help,
    )  # fmt: skip


def _members(labels: Sequence[str]) -> dict[str, list[int]]:
    out: dict[str, list[int]] = {}
    for h, label in enumerate(labels):
        if label:
            out.setdefault(label, []).append(h)
    return out


def _across(wired: Wired, names: list[str], domain: list[str]) -> Iterator[Fault]:
    """An NVLink domain under several leafs: the majority is meant."""
    leaf = leaf_of(wired)
    place = [leaf.get(n, "") for n in names]
    for label, hosts in _members(domain).items():
        votes = Counter(place[h] for h in hosts if place[h])
        if len(votes) < 2:
            continue
        usual = votes.most_common(1)[0][0]
        odd = [h for h in hosts if place[h] and place[h] != usual]
        where = f"{fold([names[h] for h in odd], 80)} in {some(sorted({place[h] for h in odd}))}"
        yield _fault(
            wired, "clique-across-leafs", f"NVLink domain {label} spans {len(votes)} leafs: {some(sorted(votes))}", odd, names,
            expected=(f"{label} in {usual}",), actual=(where,), help="check the tree, or the labels of these hosts",
        )  # fmt: skip


def leaf_of(wired: Wired) -> dict[str, str]:
    """Innermost group of each host: its switch in a tree, or the first tier of labels."""
    if wired.logical and len(wired.cable):
        name = wired.device.name_D.tolist()
        child_C, parent_C = wired.cable.device_CE[:, 0], wired.cable.device_CE[:, 1]
        host_C = wired.device.kind_D[child_C] == Kind.ADAPTER
        return {name[c]: name[p] for c, p in zip(child_C[host_C].tolist(), parent_C[host_C].tolist(), strict=True)}
    if wired.host.tiers:
        return dict(zip(wired.host.name_H.tolist(), wired.host.group_HL[:, 0].tolist(), strict=True))
    return {}


def _too_large(wired: Wired, names: list[str], domain: list[str]) -> Iterator[Fault]:
    for label, hosts in _members(domain).items():
        gpus = wired.host.gpus_H[hosts]
        total = int(gpus[gpus > 0].sum())
        if total > RACK_GPUS:
            message = f"NVLink domain {label} has {total} GPUs, more than the {RACK_GPUS} of a rack"
            yield _fault(wired, "clique-too-large", message, hosts, names, help="two racks may carry the same label")


def _partial(wired: Wired, names: list[str], domain: list[str]) -> Iterator[Fault]:
    """Domains with fewer hosts than most have."""
    members = _members(domain)
    sizes = Counter(len(h) for h in members.values())
    usual = max(sizes, key=lambda s: (sizes[s], s), default=0)
    if len(members) < FEW or sizes[usual] <= MOST * len(members):
        return
    for label, hosts in members.items():
        if len(hosts) < usual:
            message = f"NVLink domain {label} has {count(len(hosts), 'host')}, others have {usual}"
            yield _fault(
                wired, "partial-domain", message, hosts, names, rack=label, help="trays are absent, or have lost their label"
            )


def _same_place(wired: Wired, names: list[str]) -> Iterator[Fault]:
    rack, place = wired.host.rack_H.tolist(), wired.host.place_H.tolist()
    spots = _members([f"{r} {p}" if r and p else "" for r, p in zip(rack, place, strict=True)])
    for label, hosts in spots.items():
        if len(hosts) > 1:
            message = f"{len(hosts)} hosts are at {label}: {some([names[h] for h in hosts])}"
            yield _fault(wired, "place-twice", message, hosts, names, help="one of them has moved, or its record is a copy")


def _nesting(wired: Wired, names: list[str]) -> Iterator[Fault]:
    """An inner group that lies in two outer ones."""
    table = wired.host.group_HL
    for k in range(table.shape[1] - 1):
        inner = _members(table[:, k].tolist())
        outer = table[:, k + 1].tolist()
        for label, hosts in inner.items():
            votes = Counter(outer[h] for h in hosts if outer[h])
            if len(votes) < 2:
                continue
            usual = votes.most_common(1)[0][0]
            odd = [h for h in hosts if outer[h] and outer[h] != usual]
            tiers = wired.host.tiers
            message = f"{tiers[k]} {label} lies in {len(votes)} groups of tier {tiers[k + 1]}: {some(sorted(votes))}"
            yield _fault(
                wired, "two-parents", message, odd, names, expected=(f"{label} in {usual}",),
                actual=(f"{fold([names[h] for h in odd], 80)} in {some(sorted({outer[h] for h in odd}))}",),
            )  # fmt: skip


def _ungrouped(wired: Wired, names: list[str]) -> Iterator[Fault]:
    """Hosts that a tree or labels leave out, where most are in it."""
    leaf = leaf_of(wired)
    odd = [h for h, n in enumerate(names) if not leaf.get(n)]
    if leaf and odd and len(odd) < len(names):
        message = f"{count(len(odd), 'host')} of {len(names):,} under no leaf: no switch can reach them"
        yield _fault(wired, "no-leaf", message, odd, names, help="add them to the tree, or to their labels")


def _all_weak(wired: Wired, names: list[str]) -> Iterator[Fault]:
    """GPUs that have as many NVLinks as most, and still fewer than their kind has: a whole tray or domain that is degraded."""
    known = wired.gpu.nvlinks_U >= 0
    if not known.any():
        return
    usual = int(np.bincount(wired.gpu.nvlinks_U[known]).argmax())
    rows = np.flatnonzero(few_links(wired) & (wired.gpu.nvlinks_U >= usual))
    if len(rows):
        hosts = list(dict.fromkeys(wired.gpu.host_U[rows].tolist()))
        have, want = int(wired.gpu.nvlinks_U[rows[0]]), int(expected_links(wired)[rows[0]])
        message = f"{count(len(rows), 'GPU')} with {have} of {want} NVLinks"
        yield _fault(
            wired, "nvlink-count", message, hosts, names, expected=(f"{want} NVLinks",), actual=(f"{have}",),
            help="an NVLink switch of the rack is out, or its cables: collectives fall to a part of the bandwidth",
        )  # fmt: skip


def expected_links(wired: Wired) -> Ints:
    """NVLinks that each GPU should have: by its kind, else the most that one in the same files has."""
    most = int(wired.gpu.nvlinks_U.max(initial=-1))
    return np.array([LINKS.get(n, most) for n in wired.gpu.name_U.tolist()], np.int64)


def few_links(wired: Wired) -> Bools:
    """GPUs with fewer NVLinks than they should have."""
    return np.asarray((wired.gpu.nvlinks_U >= 0) & (wired.gpu.nvlinks_U < expected_links(wired)))


def group_sentences(wired: Wired) -> list[str]:
    """What the groups are, for people: hosts, NVLink domains, tiers."""
    hosts = wired.host
    out = [f"{count(len(hosts), 'host')}, known by {'their tree' if len(wired.cable) else 'what is said of them'}"]
    sizes = Counter(len(h) for h in _members(hosts.domain_H.tolist()).values())
    if sizes:
        out.append(f"{count(sum(sizes.values()), 'NVLink domain')} of {_range(sizes)} hosts")
    leafs = Counter(len(h) for h in _members(list(leaf_of(wired).values())).values())
    if leafs and len(wired.cable):
        switches = int((wired.device.kind_D == Kind.SWITCH).sum())
        out.append(
            f"{count(switches, 'switch', 'switches')}, {count(sum(leafs.values()), 'leaf', 'leafs')} of {_range(leafs)} hosts"
        )
    for k, tier in enumerate(hosts.tiers):
        groups = {g for g in hosts.group_HL[:, k].tolist() if g}
        out.append(f"tier {tier}: {count(len(groups), 'group')}")
    gpus = hosts.gpus_H[hosts.gpus_H > 0]
    if len(gpus):
        out.append(f"{count(int(gpus.sum()), 'GPU')}, {_range(Counter(gpus.tolist()))} a host")
    return out


def _range(sizes: Counter[int]) -> str:
    low, high = min(sizes), max(sizes)
    return str(low) if low == high else f"{low} to {high}"
