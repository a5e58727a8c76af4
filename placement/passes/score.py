# SPDX-License-Identifier: Apache-2.0
# R rank   U entry: a cell or a rank   T tier   P pipeline stage   J group of a tier   D NVLink domain   A axis
"""Placements compared without a model: seconds of the busiest uplinks, of hops to other rails, and of all uplinks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from placement.cost.collectives import join
from placement.cost.crossings import TierView
from placement.cost.forward import forwarding
from placement.cost.spans import paced, paced_uplinks, seconds_J
from placement.cost.traffic import axis_load
from placement.ir import AXES, Cluster, Placement, Strategy, Traffic
from placement.ir._array import Floats, Ints
from placement.passes.sites import Sites

CellScore = tuple[int, float, float]
Score = tuple[float, int, float, float]


@dataclass(frozen=True)
class Aim:
    """Weights of what is minimised: seconds of the busiest uplinks, and seconds of all uplinks if loads were spread evenly.

    `refine`: whether exchanges refine the best layouts; a search that only compares strategies does without.
    """

    busiest: float = 1.0
    even: float = 0.1
    refine: bool = True


STEP_TIME, BYTES, QUICK = Aim(), Aim(busiest=0.0, even=1.0), Aim(refine=False)


@dataclass(frozen=True)
class Loads:
    """`mixed` stages that mix chip types; `busiest_s` seconds of the busiest uplink by axis, its maximum over tiers; `even_s`
    of all uplinks if loads were even; `broken` communicators and messages without a path between rails that are apart.
    """

    mixed: int
    busiest_s: Mapping[str, float]
    even_s: float
    broken: int = 0

    def score(self, aim: Aim = STEP_TIME) -> CellScore:
        """(mixed, seconds to minimise, seconds of the busiest uplinks).

        Axes are added because they run at different times of a step, tiers are not because a collective streams through all
        of them.
        """
        busiest = _round(sum(self.busiest_s.values()))
        return self.mixed, _round(aim.busiest * busiest + aim.even * self.even_s), busiest


def score(cluster: Cluster, strategy: Strategy, traffic: Traffic, placement: Placement) -> Score:
    """(slowdown by the slowest node used, then `Loads.score`) of any placement, smaller is better."""
    node_R = placement.gpu_R // cluster.gpus_per_node
    groups_TR = np.array([tier.group_N[node_R] for tier in cluster.tiers])
    found = _loads(cluster, strategy, traffic, groups_TR, cluster.chip_N[node_R], 1, paced_uplinks(cluster, placement))
    return (slowdown(cluster, placement), *hopped(cluster, strategy, traffic, placement, found).score())


def score_cells(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, domain_C: Ints, aim: Aim = STEP_TIME
) -> CellScore:  # fmt: skip
    """`Loads.score` of cells in domains, hops to other rails left out."""
    return cell_loads(cluster, strategy, traffic, sites, domain_C).score(aim)


def cell_loads(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, domain_C: Ints) -> Loads:
    """Loads of cells in domains, as if rails were joined."""
    uplink_Bps_J = paced(cluster, sites.slowest(domain_C))
    groups_TC, chip_C = sites.parent_TD[:, domain_C], sites.chip_D[domain_C]
    return _loads(cluster, strategy, traffic, groups_TC, chip_C, sites.cell, uplink_Bps_J)


def hopped(cluster: Cluster, strategy: Strategy, traffic: Traffic, placement: Placement, loads: Loads) -> Loads:
    """Loads with what rails that are apart add: hops over NVLink, and adapters that carry the others' bytes too.

    Bytes of a stage boundary count both ways, as they do on uplinks. NVLink and network run as one pipeline (`join`).
    """
    found = forwarding(cluster, strategy, placement)
    nvlink_Bps = min(chip.nvlink_Bps for chip in cluster.chips)
    busiest_s = dict(loads.busiest_s)
    for term in traffic.terms:
        together = {"dp": strategy.gtp, "edp": strategy.egtp}.get(term.axis, 1)  # rings that a term counts as one
        a, sent = AXES.index(term.axis), float(term.bytes_P.max()) * (2.0 if term.kind == "path" else 1.0) / together
        if found.hop_A[a] > 0:
            network = max(busiest_s[term.axis], sent * float(found.nic_spB_A[a]))
            busiest_s[term.axis] = float(join(sent * found.hop_A[a] / nvlink_Bps, np.asarray(network)))
    return replace(loads, busiest_s=busiest_s, broken=int(found.broken_A.sum()))


def slowdown(cluster: Cluster, placement: Placement) -> float:
    """A step waits for the slowest GPU and the weakest NVLink domain: 1 / what it reaches."""
    node_R = placement.gpu_R // cluster.gpus_per_node
    reach = float(cluster.speed_N[node_R].min())
    if cluster.nvlink_J is not None:
        reach = min(reach, float(cluster.nvlink_J[cluster.tiers[0].group_N[node_R]].min()))
    return 1.0 / max(reach, 1e-9)


def _loads(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, groups_TU: Ints, chip_U: Ints, unit: int, domain_Bps_J: Floats
) -> Loads:  # fmt: skip
    """`domain_Bps_J`: uplinks of the NVLink domains as their ranks find them (`spans.paced_uplinks`)."""
    worst = dict.fromkeys((term.axis for term in traffic.terms), 0.0)
    total = 0.0
    for t, (tier, group_U) in enumerate(zip(cluster.tiers, groups_TU, strict=True)):
        ranks = TierView(group_U, unit, unit, tier.num_groups)
        uplink_Bps_J = domain_Bps_J if t == 0 else tier.uplink_Bps_J
        sum_Bps = float(tier.uplink_Bps_J.sum())
        for term in traffic.terms:
            load_J = axis_load(ranks, strategy, term)
            if load_J is not None:
                worst[term.axis] = max(worst[term.axis], float(seconds_J(load_J, uplink_Bps_J).max()))
                total += float(load_J.sum()) / sum_Bps if sum_Bps > 0 else math.inf
    chip_PU = chip_U.reshape(strategy.pp, -1)
    return Loads(int((chip_PU != chip_PU[:, :1]).any(axis=1).sum()), worst, total)


def _round(x: float) -> float:
    """Twelve digits: sums of the same numbers in another order compare equal."""
    return float(f"{x:.12g}") if math.isfinite(x) else x
