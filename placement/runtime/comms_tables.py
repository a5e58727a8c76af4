# SPDX-License-Identifier: Apache-2.0
# R rank   Q group   M member
"""plan.bin of several towers: places of ranks as in every plan, communicators of towers as tables.

No single strategy describes the ranks, so that the record of the strategy says one data-parallel axis over all of them, and
the coordinates of a rank are its number. Who is in which tensor or expert group of which tower stands in listed communicators
`TOWER.AXIS`, members in ascending rank; the ranks of a whole tower in `TOWER`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from placement.ir import AXES
from placement.ir._array import Ints
from placement.ir.comms import CommsPlan, Tower
from placement.runtime import layout
from placement.runtime.layout import NONE, Kind, Section
from placement.runtime.names import Names
from placement.runtime.tables import Records, domains, filled, named, nics, ranks_and_hosts, slots, spares


def comms_tables(plan: CommsPlan) -> dict[Section, Records]:
    """Every section of plan.bin; there are no chunks and layers, and one stage."""
    names, cluster, gpu_R = Names(), plan.cluster, plan.placement.gpu_R
    world = len(gpu_R)
    zero = np.zeros(world, np.int64)
    at = {
        **dict.fromkeys(("tp", "cp", "pp", "etp", "ep", "gtp", "egtp"), zero),
        "dp": np.arange(world),
        "edp": np.arange(world),
    }
    rank, host = ranks_and_hosts(cluster, gpu_R, at, names)
    communicators, members = _communicators(plan, names)
    return {
        Section.STRATEGY: _strategy(plan),
        Section.RANKS: rank,
        Section.HOSTS: host,
        Section.SLOTS: slots(rank, len(host), cluster.gpus_per_node),
        Section.DOMAINS: domains(cluster, rank, host, names),
        Section.NICS: nics(cluster, names),
        Section.COMMUNICATORS: communicators,
        Section.MEMBERS: members,
        Section.STAGES: filled(layout.STAGE, 1),
        Section.CHUNKS: filled(layout.CHUNK, 0),
        Section.LAYERS: filled(layout.LAYER, 0),
        Section.SPARES: spares(cluster, gpu_R, names),
        Section.NAMES: names.blob(),
    }


def _strategy(plan: CommsPlan) -> Records:
    one = dict.fromkeys(("tp", "cp", "ep", "etp", "gtp", "egtp", "pp", "vpp", "micro_batch", "num_microbatches"), 1)
    fabric = {"num_rails": int(plan.cluster.rail_G.max()) + 1, "num_planes": plan.cluster.num_planes}
    world = plan.comms.world_size
    return filled(layout.STRATEGY, 1, **one, **fabric, dp=world, edp=world, seq_len=1, global_batch=world)


def _communicators(plan: CommsPlan, names: Names) -> tuple[Records, Records]:
    world = plan.comms.world_size
    listed: list[tuple[str, Ints]] = [("world", np.arange(world)[None])]
    for tower, first in zip(plan.comms.towers, plan.comms.first, strict=True):
        listed += [(name, rows + first) for name, rows in _groups(tower)]
    records, parts, at = np.zeros(len(listed), layout.COMMUNICATOR), [np.empty(0, "<u4")], 0
    for row, (_, member_QM) in zip(records, listed, strict=True):
        groups, size = member_QM.shape
        group_R = np.full(world, NONE, "<u4")
        group_R[member_QM] = np.arange(groups)[:, None]
        row["kind"], row["num_groups"], row["size"] = Kind.TABLE, groups, size
        row["members"], row["index"] = at, at + member_QM.size
        parts += [member_QM.ravel().astype("<u4"), group_R]
        at += member_QM.size + world
    for key, column in named(names, [name for name, _ in listed]).items():
        records[key] = column
    return records, np.concatenate(parts)


def _groups(tower: Tower) -> Iterator[tuple[str, Ints]]:
    yield tower.name, np.arange(tower.ranks)[None]
    if tower.strategy is not None:
        for axis in AXES:
            if tower.strategy.size(axis) > 1:
                yield f"{tower.name}.{axis}", tower.strategy.groups(axis)
