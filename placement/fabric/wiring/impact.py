# SPDX-License-Identifier: Apache-2.0
# N node   T tier   J group of a tier   L lane
"""What single faults take from a cluster, apart from each other: the cluster as designed with one fault in it.

A cable that is missing takes its share of what its switch, and with it the switch's rail, sends upwards; the other rails of the
group then carry the load (`capacity.effective`). A lane that a host has lost takes its share of the host's adapters. Nodes that
a fault takes out of service stay in the cluster: a plan goes around them, and `gpus` says how many those are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

import numpy as np

from placement.fabric.capacity import effective
from placement.fabric.wiring.analyse import Analysis
from placement.fabric.wiring.faults import Fault
from placement.ir import Cluster, State
from placement.ir._array import Floats

OUT = frozenset({"absent-tray", "no-link", "unnamed-adapter", "host-name", "no-lid", "host-unhealthy", "nvlink-count"})
LANES = frozenset({"missing-host-link", "missing-switch", "leaf-without-hosts"})  # hosts lose the lanes that are told
UPLINKS = frozenset({"missing-cable", "missing-switch", "switch-cut-off"})
SLOW = frozenset({"wrong-speed", "wrong-width"})
Shares = defaultdict[int, float]  # cables, or parts of one, that a switch or a node has lost


@dataclass(frozen=True)
class Impact:
    """A fault, the cluster as designed with nothing but it, and how many GPUs it touches or takes out."""

    fault: Fault
    cluster: Cluster
    gpus: int


def designed(cluster: Cluster) -> Cluster:
    """A cluster as found, as it was meant to be: every node in service, every uplink as wide as the best of its tier."""
    nic = float(np.max(cluster.nic_Bps_N, initial=0.0))
    node_Bps = nic * cluster.gpus_per_node
    tiers = []
    for tier in cluster.tiers:
        below_J = np.bincount(tier.group_N, minlength=tier.num_groups) * node_Bps
        finite = np.isfinite(tier.uplink_Bps_J)
        share = float((tier.uplink_Bps_J[finite] / below_J[finite]).max()) if finite.any() else np.inf
        tiers.append(replace(tier, uplink_Bps_J=np.where(finite, share * below_J, np.inf)))
    return replace(
        cluster, tiers=tuple(tiers), state_N=np.full(cluster.num_nodes, int(State.OK)), findings=(),
        nic_Bps_N=np.full(cluster.num_nodes, nic), gpu_ok_NG=np.ones_like(cluster.gpu_ok_NG),
        speed_N=np.ones(cluster.num_nodes),
    )  # fmt: skip


def impacts(known: Analysis, whole: Cluster) -> list[Impact]:
    """Every fault that takes bandwidth or nodes, on the cluster as designed (`designed`).

    Cables that are exchanged still carry their load, and are not priced.
    """
    found = _Lost(known, whole)
    return [found.impact(f) for f in known.faults if f.kind in OUT | LANES | UPLINKS | SLOW]


class _Lost:
    """Shares of nodes and groups that cables stand for."""

    def __init__(self, known: Analysis, whole: Cluster) -> None:
        self.known, self.whole = known, whole
        names = known.names
        self.device = {names.device(d): d for d in np.flatnonzero(known.tier_D >= 1).tolist()}
        self.node = {str(h): n for n, h in enumerate(whole.host_N.tolist())}
        self.lanes = max(int(known.adapters.lanes_L.max(initial=1)), 1)
        self.due = [Counter(b.low_Q.tolist()) for b in known.boundaries]
        hosts = [self.node.get(h, -1) for h in known.adapters.hosts]
        self.below: dict[int, set[int]] = {}
        for leaf, host in zip(known.adapters.leaf_R.tolist(), known.adapters.host_R.tolist(), strict=True):
            if host >= 0 and hosts[host] >= 0:
                self.below.setdefault(leaf, set()).add(hosts[host])

    def impact(self, fault: Fault) -> Impact:
        """The cluster with one fault."""
        nodes = [self.node[v] for v in fault.victims if v in self.node]
        gpus = len(nodes) * self.whole.gpus_per_node
        if fault.kind in OUT:
            return Impact(fault, self.whole, gpus)
        up: Shares = defaultdict(float)
        lane: Shares = defaultdict(float)
        part = self._slower(fault) if fault.kind in SLOW else 1.0
        for text in fault.expected:
            plug = text.partition(" -- ")[0]
            low = self.device.get(plug.rpartition("/")[0])
            if low is not None:
                up[low] += part
            elif (n := self.node.get(plug.split(" ")[0])) is not None:
                lane[n] += part
        if fault.kind in ("missing-switch", "leaf-without-hosts") and not up:
            lane.update(dict.fromkeys(nodes, 1.0))
        return Impact(fault, self._with(up, lane), gpus)

    def _slower(self, fault: Fault) -> float:
        """Part of its speed that a slow cable lacks, by the fastest of the fabric."""
        Bps_C = self.known.wired.cable.Bps_C
        return 1.0 - float(Bps_C[list(fault.records)].min() / Bps_C.max()) if fault.records else 0.0

    def _with(self, up: Shares, lane: Shares) -> Cluster:
        nic_N = self.whole.nic_Bps_N.copy()
        for n, lost in lane.items():
            live_L = np.ones(self.lanes)
            live_L[: int(lost)] = 0.0
            if lost % 1:
                live_L[-1] = 1 - lost % 1
            nic_N[n] *= max(float(effective(live_L[None, :, None])[0]), 1e-3)
        tiers = list(self.whole.tiers)
        if lane and len(tiers) > 1:
            inner = tiers[0]
            Bps_J = np.bincount(inner.group_N, weights=nic_N * self.whole.gpus_per_node, minlength=inner.num_groups)
            tiers[0] = replace(inner, uplink_Bps_J=np.maximum(Bps_J, 1.0))
        for level, due in enumerate(self.due):
            if level + 2 < len(tiers):  # the outermost tier sends nothing further up
                left_J = self._left(level, due, up)
                tier = tiers[level + 1]
                tiers[level + 1] = replace(tier, uplink_Bps_J=np.maximum(tier.uplink_Bps_J * left_J, 1.0))
        return replace(self.whole, nic_Bps_N=nic_N, tiers=tuple(tiers))

    def _left(self, level: int, due: Counter[int], up: Shares) -> Floats:
        """Part of its uplinks that each group of a tier keeps: the rails of a leaf group, or the spines of a pod."""
        tier = self.whole.tiers[level + 1]
        live: dict[int, dict[int, float]] = {}
        for low in due:
            nodes = self._nodes(low, level)
            if nodes:
                j = int(tier.group_N[next(iter(nodes))])
                live.setdefault(j, {})[low] = 1.0 - min(1.0, up[low] / due[low])
        out = np.ones(tier.num_groups)
        for j, of in live.items():
            values = np.array(list(of.values()))
            out[j] = effective(values[None, :, None])[0] if level == 0 else float(values.mean())
        return out

    def _nodes(self, switch: int, level: int) -> set[int]:
        """Some nodes under a switch of a tier: those of a leaf, or of the first leaf of a spine."""
        while level > 0:
            b = self.known.boundaries[level - 1]
            lower = b.low_X[b.high_X == switch]
            if not len(lower):
                return set()
            switch, level = int(lower[0]), level - 1
        return self.below.get(switch, set())
