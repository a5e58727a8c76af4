# SPDX-License-Identifier: Apache-2.0
# H host   U GPU
"""Faults of NVLink domains, from what hosts and GPUs say of themselves: cliques, link counts, health.

A GPU with fewer than its healthy number of links makes NCCL fall to a small part of the bandwidth without a warning, while
the fabric's own health fields can look normal, so links are counted against the most frequent number (18 on NVL72; NVIDIA
Health Validation `nvlink_active`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.faults import Fault, count, some
from placement.ir import Wired

E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO
HEALTHY = re.compile(
    r"\s*(?:ok|healthy|success|completed|normal|full|up|idle|ready|true|none|n/?a|not supported|)\s*\Z", re.IGNORECASE
)
WEAK = 0.5  # of its hosts hold another clique: the minority is the odd one


def nvlink_faults(wired: Wired) -> Iterator[Fault]:
    """Every fault that hosts and GPUs report, one a cause."""
    yield from _links(wired)
    yield from _cliques(wired)
    yield from _health(wired)
    yield from _sizes(wired)


def _links(wired: Wired) -> Iterator[Fault]:
    """GPUs with fewer active NVLinks than most."""
    gpu, host = wired.gpu, wired.host
    known = np.flatnonzero(gpu.nvlinks_U >= 0)
    if not len(known):
        return
    healthy = int(np.bincount(gpu.nvlinks_U[known]).argmax())
    weak: defaultdict[int, list[int]] = defaultdict(list)
    for u in known[gpu.nvlinks_U[known] < healthy].tolist():
        weak[int(gpu.host_U[u])].append(u)
    for h, rows in weak.items():
        name = str(host.name_H[h])
        told = ", ".join(f"GPU {int(gpu.slot_U[u])}: {int(gpu.nvlinks_U[u])}" for u in rows)
        line, file = int(gpu.line_U[rows[0]]), wired.files[int(gpu.file_U[rows[0]])]
        yield Fault(
            "nvlink-count", E_,
            f"{count(len(rows), 'GPU')} of {name} {'have' if len(rows) > 1 else 'has'} fewer than {healthy} active NVLinks",
            (f"{healthy} NVLinks",), (told,), rack=_rack(wired, h), victims=(name,), line=line, file=file,
            help="drain the tray: collectives over a weak GPU fall to a small part of the bandwidth",
        )  # fmt: skip


def _domain_H(wired: Wired) -> list[str]:
    """NVLink domain of each host: its own word, else that of its GPUs."""
    out = [str(d) for d in wired.host.domain_H.tolist()]
    for h, d in zip(wired.gpu.host_U.tolist(), wired.gpu.domain_U.tolist(), strict=True):
        out[h] = out[h] or str(d)
    return out


def _cliques(wired: Wired) -> Iterator[Fault]:
    """A rack over several cliques, a clique over several racks, GPUs of a host in different ones, hosts in none."""
    host, gpu = wired.host, wired.gpu
    domain_H = _domain_H(wired)
    split: defaultdict[int, set[str]] = defaultdict(set)
    for h, d in zip(gpu.host_U.tolist(), gpu.domain_U.tolist(), strict=True):
        if d:
            split[h].add(str(d))
    for h, cliques in split.items():
        if len(cliques) > 1:
            yield _at(
                wired,
                h,
                "clique-split",
                E_,
                f"the GPUs of {host.name_H[h]} are in {len(cliques)} NVLink cliques: {some(sorted(cliques))}",
                "reset the fabric manager's partition, then the GPUs",
            )
    if not any(domain_H):
        return
    racks: defaultdict[str, list[int]] = defaultdict(list)
    for h in range(len(host)):
        rack = _rack(wired, h)
        if rack:
            racks[rack].append(h)
    for rack, rows in racks.items():
        tally = Counter(domain_H[h] for h in rows if domain_H[h])
        if len(tally) > 1 and tally.most_common(1)[0][1] > WEAK * sum(tally.values()) and _one_a_rack(racks, domain_H):
            main = tally.most_common(1)[0][0]
            for other in [d for d in tally if d != main]:
                mine = [h for h in rows if domain_H[h] == other]
                names = tuple(str(host.name_H[h]) for h in mine)
                elsewhere = sorted({r for r, hs in racks.items() if r != rack and any(domain_H[h] == other for h in hs)})
                kind = "clique-across-racks" if elsewhere else "clique-split"
                message = (
                    f"{some(names)} of rack {rack} {'are' if len(names) > 1 else 'is'} in clique {other}, most of the "
                    f"rack in {main}"
                )
                message += f"; rack {some(elsewhere)} is in that clique too" if elsewhere else ""
                yield _many(
                    wired,
                    mine,
                    kind,
                    E_,
                    message,
                    (main,),
                    (other,),
                    "NVLink domains do not cross racks: check the fabric manager and the cabling",
                )
    lost = [h for h in range(len(host)) if not domain_H[h]]
    if lost and len(lost) < WEAK * len(host):
        names = tuple(str(host.name_H[h]) for h in lost)
        message = f"{count(len(lost), 'host')} {'are' if len(lost) > 1 else 'is'} in no NVLink clique"
        yield _many(
            wired,
            lost,
            "no-clique",
            W_,
            message,
            (),
            (),
            "schedulers place such hosts first or never: start the fabric manager, or drain them",
        )


def _one_a_rack(racks: dict[str, list[int]], domain_H: list[str]) -> bool:
    """Whether most racks hold one clique, so that a second one is odd."""
    sizes = [len({domain_H[h] for h in rows if domain_H[h]}) for rows in racks.values()]
    return sum(n <= 1 for n in sizes) >= WEAK * len(sizes)


def _health(wired: Wired) -> Iterator[Fault]:
    """Hosts and GPUs whose source says that they are not well."""
    host, gpu = wired.host, wired.gpu
    for h, state in enumerate(host.state_H.tolist()):
        if not HEALTHY.match(str(state)):
            yield _at(wired, h, "host-unhealthy", W_, f"{host.name_H[h]} is `{state}`", "see the log of the tool that says so")
    for u, health in enumerate(gpu.health_U.tolist()):
        if not HEALTHY.match(str(health)):
            h = int(gpu.host_U[u])
            line, file = int(gpu.line_U[u]), wired.files[int(gpu.file_U[u])]
            yield Fault(
                "degraded-domain", E_, f"GPU {int(gpu.slot_U[u])} of {host.name_H[h]} reports `{health}`",
                rack=_rack(wired, h), victims=(str(host.name_H[h]),), line=line, file=file,
                help="check `nvidia-smi -q`, section Fabric, and the NVLink switches",
            )  # fmt: skip


def _sizes(wired: Wired) -> Iterator[Fault]:
    """Hosts with another number of GPUs than most, and hosts with another type of GPU."""
    host = wired.host
    known = np.flatnonzero(host.gpus_H >= 0)
    if len(known) > 2:
        usual = int(np.bincount(host.gpus_H[known]).argmax())
        for h in known[host.gpus_H[known] != usual].tolist():
            yield _at(
                wired,
                h,
                "gpu-count",
                W_,
                f"{host.name_H[h]} has {count(int(host.gpus_H[h]), 'GPU')}, most hosts {usual}",
                "check that every GPU is visible",
            )
    types = Counter(str(n) for n in host.gpu_name_H.tolist() if n)
    if len(types) > 1:
        main = types.most_common(1)[0][0]
        for other in [t for t in types if t != main]:
            rows = [h for h, n in enumerate(host.gpu_name_H.tolist()) if n == other]
            message = f"{count(len(rows), 'host')} {'have' if len(rows) > 1 else 'has'} {other}, most others {main}"
            yield _many(
                wired,
                rows,
                "mixed-generation",
                I_,
                message,
                (main,),
                (other,),
                "plan these apart: a job is as fast as its slowest GPU",
            )


def _rack(wired: Wired, h: int) -> str:
    return str(wired.host.rack_H[h])


def _at(wired: Wired, h: int, kind: str, severity: Severity, message: str, help: str) -> Fault:
    return _many(wired, [h], kind, severity, message, (), (), help)


def _many(
    wired: Wired, rows: list[int], kind: str, severity: Severity, message: str, expected: tuple[str, ...],
    actual: tuple[str, ...], help: str
) -> Fault:  # fmt: skip
    host = wired.host
    return Fault(
        kind, severity, message, expected, actual, rack=_rack(wired, rows[0]), victims=tuple(str(host.name_H[h]) for h in rows),
        line=int(host.line_H[rows[0]]), file=wired.files[int(host.file_H[rows[0]])], help=help,
    )  # fmt: skip
