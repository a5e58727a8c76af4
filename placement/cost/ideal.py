# SPDX-License-Identifier: Apache-2.0
# S strategy   A axis (AXES order)   T tier   J group of a tier
"""Spans that no placement can beat, for many strategies at once: what the search prunes with.

A communicator of n members, of which a cell holds m, has to touch at least ceil(n / (m k)) groups of a tier whose fullest group
holds k cells. If that is more than one, every group that runs a cell sends one ring edge for each communicator of that cell:
at least ceil(cell / m) edges over one uplink. For all-to-all, the group with the most cells a >= ceil(cells / groups) sends
a * cell * (n - min(n, m a)) / (n - 1) shares at least, which is concave in a, so its ends decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from placement.cost.cells import TENSORS, WHOLE, cell_sizes, domain_gpus, kept_sizes, largest_domain
from placement.ir import AXES, Cluster, Spans
from placement.ir._array import Bools, Floats, Ints, distinct


@dataclass(frozen=True)
class Room:
    """Of one tier, by strategy: cells in the fullest group, groups that hold a cell, and the fastest uplink. (S,)"""

    cells_S: Floats
    groups_S: Floats
    uplink_Bps: float


def kept_spans(
    cluster: Cluster, degrees: Mapping[str, Ints], keep: int, *, ragged: bool = False, axes: Collection[str] = AXES,
    cell_S: Ints | None = None,
) -> Spans:  # fmt: skip
    """`ideal_spans` of placements that keep the cells of `keep`, and do not keep more.

    Where expert groups are not kept one of them is in two domains at least: half of its members or fewer share one of these,
    and send what goes to the others over their own adapters.
    """
    if cell_S is None and keep > WHOLE:
        cell_S = kept_sizes(cluster, degrees, keep, ragged)
    found = ideal_spans(cluster, degrees, ragged=ragged, axes=axes, cell_S=cell_S)
    if keep < TENSORS or "ep" not in axes:
        return found
    ep, n_S = AXES.index("ep"), np.asarray(degrees["ep"], float)
    members, a2a = found.members.copy(), found.a2a_spB.copy()
    half_S = np.maximum(n_S // 2, 1.0)
    share_S = (n_S - half_S) / np.maximum(n_S - 1.0, 1.0)
    members[:, ep, 0] = np.minimum(members[:, ep, 0], half_S)
    a2a[:, ep, 0] = np.maximum(a2a[:, ep, 0], share_S / float(cluster.nic_Bps_N.max()))
    return Spans(members, found.ring_spB, a2a, found.hop)


def ideal_spans(
    cluster: Cluster, degrees: Mapping[str, Ints], *, cells: bool = True, ragged: bool = False, axes: Collection[str] = AXES,
    cell_S: Ints | None = None,
) -> Spans:  # fmt: skip
    """Optimistic spans (S, A, T) of strategies given by `degrees` (tp, cp, gtp, dp, pp, etp, ep, egtp, edp: (S,)).

    No entry costs more than the same entry of `spans_of`: `members` is never lower, `ring_spB` and `a2a_spB` never higher. With
    `cells` this holds for every placement that keeps each cell in one NVLink domain, the only ones `place` makes; without, for
    every placement at all. `ragged`: as in the job, nodes may give a part of their GPUs. Axes not among `axes` are left as
    if they had a single member. `cell_S`: ranks of the cells, where they are known already.
    """
    size = {k: np.asarray(v, np.int64) for k, v in degrees.items()}
    world_S = size["tp"] * size["cp"] * size["dp"] * size["pp"]
    small_S = world_S < cluster.gpus_per_node
    if small_S.any() and not ragged:
        return _merged(cluster, size, small_S, cells, axes, cell_S)
    if cell_S is None:
        cell_S = cell_sizes(size, largest_domain(cluster, ragged)) if cells else np.ones(len(world_S), np.int64)
    stride = _strides(size)
    shape = (len(AXES), len(cluster.tiers), len(world_S))
    members_ATS, ring_ATS, a2a_ATS = np.ones(shape), np.zeros(shape), np.zeros(shape)
    room_T = rooms(cluster, cell_S, ragged or not cells)
    cell, num_cells = cell_S.astype(float), world_S / cell_S
    for a, name in enumerate(AXES):
        if name not in axes:
            continue
        n = size[name].astype(float)
        inside = np.minimum(n, np.ceil(cell_S / stride[name]))
        members_ATS[a] = n
        if (inside == n).all():
            continue
        for t, room in enumerate(room_T):
            members_ATS[a, t], ring_ATS[a, t], a2a_ATS[a, t] = _ideal(room, n, inside, cell, num_cells)
    return Spans(*(np.moveaxis(x, -1, 0) for x in (members_ATS, ring_ATS, a2a_ATS)))


def _merged(
    cluster: Cluster, size: Mapping[str, Ints], small_S: Bools, cells: bool, axes: Collection[str], cell_S: Ints | None
) -> Spans:
    """Jobs smaller than a node may take a part of one, so they follow the rules of ragged jobs."""
    shape = (len(small_S), len(AXES), len(cluster.tiers))
    out = [np.empty(shape) for _ in range(3)]
    for ragged, rows in ((True, np.flatnonzero(small_S)), (False, np.flatnonzero(~small_S))):
        if rows.size:
            some, cell = {k: v[rows] for k, v in size.items()}, None if cell_S is None or ragged else cell_S[rows]
            spans = ideal_spans(cluster, some, cells=cells, ragged=ragged, axes=axes, cell_S=cell)
            for whole, part in zip(out, (spans.members, spans.ring_spB, spans.a2a_spB), strict=True):
                whole[rows] = part
    return Spans(*out)


def _ideal(room: Room, n: Floats, inside: Floats, cell: Floats, num_cells: Floats) -> tuple[Floats, Floats, Floats]:
    """(members, ring_spB, a2a_spB) of an axis; `inside` members of one communicator fit one cell, at most. All (S,)."""
    touched = np.ceil(n / np.maximum(inside * room.cells_S, 1.0))
    split = touched > 1
    ring = np.where(split, np.ceil(cell / inside), 0.0) / room.uplink_Bps
    fewest = np.maximum(np.ceil(num_cells / np.maximum(room.groups_S, 1.0)), 1.0)
    most = np.maximum(room.cells_S, fewest)
    shares = np.minimum(_shares(fewest, n, inside), _shares(most, n, inside)) * cell
    return np.floor(n / touched), ring, np.where(split, shares, 0.0) / room.uplink_Bps


def _shares(cells: Floats, n: Floats, inside: Floats) -> Floats:
    return np.asarray(cells * (n - np.minimum(n, inside * cells)) / np.maximum(n - 1, 1))


def _strides(size: Mapping[str, Ints]) -> dict[str, Ints]:
    """`Strategy.stride`, vectorised."""
    dense, expert = size["tp"] * size["cp"], size["etp"] * size["ep"]
    return {
        "tp": np.ones_like(dense), "cp": size["tp"], "gtp": dense, "dp": dense, "pp": dense * size["dp"],
        "etp": np.ones_like(dense), "ep": size["etp"], "egtp": expert, "edp": expert,
    }  # fmt: skip


def rooms(cluster: Cluster, cell_S: Ints, ragged: bool) -> list[Room]:
    """Room of every tier for cells of these sizes."""
    gpus_J = domain_gpus(cluster, ragged)
    sizes_K, which_S = distinct(cell_S)
    cells_KJ = gpus_J // sizes_K[:, None]
    found = []
    for tier, parent_J in zip(cluster.tiers, cluster.parent_TJ, strict=True):
        full_KJ = np.array([np.bincount(parent_J, weights=row, minlength=tier.num_groups) for row in cells_KJ])
        usable_J = np.bincount(parent_J, weights=gpus_J, minlength=tier.num_groups) > 0
        found.append(Room(
            full_KJ.max(axis=1)[which_S], (full_KJ > 0).sum(axis=1).astype(float)[which_S],
            float(tier.uplink_Bps_J.max(initial=0.0, where=usable_J)) or np.inf,
        ))  # fmt: skip
    return found
