# SPDX-License-Identifier: Apache-2.0
# R rank   H host of the plan, by name   N node   G slot   B block   C chunk   P stage   X spare GPU
"""The tables of plan.bin, from a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from placement.ir import AXES, RECOMPUTE, SCHEDULES, SHARDING, Cluster, Plan, State, Strategy
from placement.ir._array import Ints
from placement.runtime import layout
from placement.runtime.layout import NONE, Flag, Kind, Section
from placement.runtime.names import Names, encode

Records = npt.NDArray[Any]
_JOINED = {  # communicators over two axes: inner, outer
    "tp_cp": ("tp", "cp"),
    "dp_cp": ("cp", "dp"),
    "tp_pp": ("tp", "pp"),
    "etp_ep": ("etp", "ep"),
}


def tables(plan: Plan) -> dict[Section, Records]:
    """Every section of plan.bin."""
    names = Names()
    rank, host = _ranks_and_hosts(plan, names)
    communicators, members = _communicators(plan, names)
    chunk_C = _chunks(plan)
    return {
        Section.STRATEGY: _strategy(plan),
        Section.RANKS: rank,
        Section.HOSTS: host,
        Section.SLOTS: slots(rank, len(host), plan.cluster.gpus_per_node),
        Section.DOMAINS: domains(plan.cluster, rank, host, names),
        Section.NICS: nics(plan.cluster, names),
        Section.COMMUNICATORS: communicators,
        Section.MEMBERS: members,
        Section.STAGES: _stages(plan, chunk_C),
        Section.CHUNKS: chunk_C,
        Section.LAYERS: _layers(plan, chunk_C, names),
        Section.SPARES: spares(plan.cluster, plan.chosen.placement.gpu_R, names),
        Section.NAMES: names.blob(),
    }


def flags(cluster: Cluster, sections: dict[Section, Records]) -> Flag:
    """Facts about the whole plan that launchers ask for first."""
    rank, host = sections[Section.RANKS], sections[Section.HOSTS]
    found = Flag.RAILS_CONNECTED if cluster.rails_connected else Flag(0)
    if bool((rank["local_rank"] == rank["slot"]).all()):
        found |= Flag.LOCAL_RANK_IS_SLOT
    if bool((host["num_ranks"] == cluster.gpus_per_node).all()):
        found |= Flag.WHOLE_NODES
    return found


def counts(cluster: Cluster, sections: dict[Section, Records]) -> dict[str, int]:
    """The counts of the header."""
    slots = cluster.gpus_per_node
    lengths = {"world_size": Section.RANKS, "num_hosts": Section.HOSTS, "num_stages": Section.STAGES}
    return {"gpus_per_node": slots} | {name: len(sections[section]) for name, section in lengths.items()}


def filled(dtype: np.dtype[Any], length: int, **columns: Any) -> Records:
    records = np.zeros(length, dtype)
    for name, column in columns.items():
        assert np.all(np.asarray(column) <= np.iinfo(dtype[name]).max) if dtype[name].kind == "u" else True
        records[name] = column
    return records


def named(names: Names, text: Any, key: str = "name") -> dict[str, Records]:
    offset, size = names.add(text)
    return {key: offset, f"{key}_size": size}


def _strategy(plan: Plan) -> Records:
    s, job = plan.chosen.strategy, plan.job
    degrees = ("tp", "cp", "ep", "etp", "gtp", "egtp", "dp", "edp", "pp", "vpp", "micro_batch", "num_microbatches")
    choices = {
        "schedule": SCHEDULES.index(s.schedule),
        "recompute": RECOMPUTE.index(s.recompute),
        "sharding": SHARDING.index(s.sharding),
    }  # fmt: skip
    fabric = {"num_rails": int(plan.cluster.rail_G.max()) + 1, "num_planes": plan.cluster.num_planes}
    load = {"seq_len": job.seq_len, "global_batch": job.global_batch, "step_s": plan.chosen.cost.step_s}
    return filled(layout.STRATEGY, 1, **{d: getattr(s, d) for d in degrees}, **choices, **fabric, **load)


def _ranks_and_hosts(plan: Plan, names: Names) -> tuple[Records, Records]:
    strategy = plan.chosen.strategy
    at = strategy.coordinates(np.arange(strategy.world_size, dtype=np.int32))  # half the width divides twice as fast
    shards = {"gtp": at["dp"] % strategy.gtp, "egtp": at["edp"] % strategy.egtp}
    return ranks_and_hosts(plan.cluster, plan.chosen.placement.gpu_R, {**at, **shards}, names)


def ranks_and_hosts(cluster: Cluster, gpu_R: Ints, at: Mapping[str, Ints], names: Names) -> tuple[Records, Records]:
    """The tables of ranks and of hosts. `at`: coordinates of each rank, `pp` its stage."""
    node_R, slot_R = np.divmod(gpu_R, cluster.gpus_per_node)
    used_N = np.flatnonzero(np.bincount(node_R, minlength=cluster.num_nodes))
    used_H = used_N[np.argsort(encode(cluster.host_N[used_N]), kind="stable")]
    host_N = np.zeros(cluster.num_nodes, np.int64)
    host_N[used_H] = np.arange(len(used_H))
    host_R, rank_R = host_N[node_R], np.arange(len(gpu_R), dtype=np.int32)
    first_H, local_R = _local(host_R, len(used_H))
    rank = filled(
        layout.RANK, len(gpu_R), rank=rank_R, host=host_R, node=node_R, domain=cluster.tiers[0].group_N[node_R], slot=slot_R,
        local_rank=local_R, rail=cluster.rail_G[slot_R], stage=at["pp"], gpu=gpu_R,
        **{a: at[a] for a in ("dp", "ep", "edp", "tp", "cp", "etp", "gtp", "egtp")},
    )  # fmt: skip
    host = filled(
        layout.HOST, len(used_H), node=used_H, domain=cluster.tiers[0].group_N[used_H], first_rank=first_H,
        num_ranks=np.bincount(host_R, minlength=len(used_H)), **named(names, cluster.host_N[used_H]),
    )  # fmt: skip
    return rank, host


def _local(host_R: Records, num_hosts: int) -> tuple[Records, Records]:
    """Smallest rank of each host, and each rank's place among the ranks of its host in ascending order."""
    order = np.argsort(host_R, kind="stable")
    start_H = np.searchsorted(host_R[order], np.arange(num_hosts))
    local_R = np.empty_like(host_R)
    local_R[order] = np.arange(len(host_R)) - start_H[host_R[order]]
    return order[start_H], local_R


def slots(rank: Records, num_hosts: int, per_host: int) -> Records:
    table = np.full(num_hosts * per_host, NONE, "<u4")
    table[rank["host"].astype(np.int64) * per_host + rank["slot"]] = rank["rank"]
    return table


def domains(cluster: Cluster, rank: Records, host: Records, names: Names) -> Records:
    n = cluster.tiers[0].num_groups
    size = {"num_ranks": np.bincount(rank["domain"], minlength=n), "num_hosts": np.bincount(host["domain"], minlength=n)}
    return filled(layout.DOMAIN, n, **size, **named(names, cluster.domain_name_J))


def nics(cluster: Cluster, names: Names) -> Records:
    rails = list(range(int(cluster.rail_G.max()) + 1))
    return filled(layout.NIC, len(rails), rail=rails, **named(names, [cluster.nic_name.format(rail=r) for r in rails]))


def _communicators(plan: Plan, names: Names) -> tuple[Records, Records]:
    """Every kind of communicator: the axes, pairs of axes, the whole world; and tied weights that lie in two stages."""
    s = plan.chosen.strategy
    levels = {a: (s.size(a), s.stride(a), 1, s.size(a) * s.stride(a)) for a in AXES}
    for name, (inner, outer) in _JOINED.items():
        levels[name] = (s.size(inner), s.stride(inner), s.size(outer), s.stride(outer))
    levels["etp_ep_pp"] = (s.etp * s.ep, 1, s.pp, s.stage_ranks)
    levels["world"] = (s.world_size, 1, 1, s.world_size)
    tied = _tied(plan)
    records = np.zeros(len(levels) + len(tied), layout.COMMUNICATOR)
    for row, (n0, s0, n1, s1) in zip(records, levels.values(), strict=False):
        row["inner_size"], row["inner_stride"], row["outer_size"], row["outer_stride"] = n0, s0, n1, s1
        row["size"], row["num_groups"], row["kind"] = n0 * n1, s.world_size // (n0 * n1), Kind.ARITHMETIC
    members = _list_groups(records[len(levels) :], tied, s)
    for key, column in named(names, [*levels, *(f"tied_{i}" for i in range(len(tied)))]).items():
        records[key] = column
    return records, members


def _tied(plan: Plan) -> list[tuple[int, int]]:
    """Pairs of pipeline stages that share a tied matrix, one for each pair of tied blocks in different stages."""
    stage_B = plan.chosen.strategy.chunk_stage[plan.chosen.stages.chunk_B]
    pairs = (sorted((int(stage_B[i]), int(stage_B[j]))) for i, j in plan.model.tied)
    return [(a, b) for a, b in pairs if a != b]


def _list_groups(records: Records, tied: list[tuple[int, int]], strategy: Strategy) -> Records:
    """Members of listed communicators, and after them the group of each rank."""
    parts, at, inside = [np.empty(0, "<u4")], 0, np.arange(strategy.stage_ranks)
    for row, pair in zip(records, tied, strict=True):
        member = np.stack([inside + p * strategy.stage_ranks for p in pair], axis=1)
        group_R = np.full(strategy.world_size, NONE, "<u4")
        group_R[member] = inside[:, None]
        row["kind"], row["num_groups"], row["size"] = Kind.TABLE, len(member), 2
        row["members"], row["index"] = at, at + member.size
        parts += [member.ravel().astype("<u4"), group_R]
        at += member.size + strategy.world_size
    return np.concatenate(parts).astype("<u4")


def _chunks(plan: Plan) -> Records:
    s, chunk_B = plan.chosen.strategy, plan.chosen.stages.chunk_B
    chunk, stage_C = np.arange(s.num_chunks), s.chunk_stage
    first = np.searchsorted(chunk_B, chunk)
    size = np.searchsorted(chunk_B, chunk, side="right") - first
    virtual = np.array([int((stage_C[:c] == stage_C[c]).sum()) for c in chunk])
    return filled(
        layout.CHUNK, s.num_chunks, chunk=chunk, stage=stage_C, virtual_stage=virtual, first_layer=first, num_layers=size
    )


def _stages(plan: Plan, chunk_C: Records) -> Records:
    pp, cost = plan.chosen.strategy.pp, plan.chosen.cost
    layers_P = np.bincount(chunk_C["stage"], weights=chunk_C["num_layers"], minlength=pp).astype(int)
    return filled(
        layout.STAGE, pp, stage=np.arange(pp), recompute=[RECOMPUTE.index(r) for r in plan.chosen.stages.recompute_P],
        num_chunks=np.bincount(chunk_C["stage"], minlength=pp), num_layers=layers_P,
        busy_s=cost.stage_s_P, memory_bytes=cost.memory_PM.sum(axis=1),
    )  # fmt: skip


def _layers(plan: Plan, chunk_C: Records, names: Names) -> Records:
    model, chunk_B = plan.model, plan.chosen.stages.chunk_B
    offset_Y, size_Y = names.add([t.name for t in model.types])
    return filled(
        layout.LAYER, model.num_blocks, layer=np.arange(model.num_blocks), chunk=chunk_B, stage=chunk_C["stage"][chunk_B],
        type=model.type_B, type_name=offset_Y[model.type_B], type_name_size=size_Y[model.type_B],
        **named(names, list(model.block_names)),
    )  # fmt: skip


def spares(cluster: Cluster, gpu_R: Ints, names: Names) -> Records:
    """Healthy GPUs without a rank, in fabric order: those the plan left over, and those the topology reserves."""
    free_NG = cluster.gpu_ok_NG & np.isin(cluster.state_N, (State.OK, State.RESERVED))[:, None]
    free = free_NG.ravel().copy()
    free[gpu_R] = False
    gpu_X = np.flatnonzero(free)
    node_X, slot_X = np.divmod(gpu_X, cluster.gpus_per_node)
    node_U, at_X = np.unique(node_X, return_inverse=True)
    offset_U, size_U = names.add(cluster.host_N[node_U])
    return filled(
        layout.SPARE, len(gpu_X), gpu=gpu_X, node=node_X, domain=cluster.tiers[0].group_N[node_X], slot=slot_X,
        rail=cluster.rail_G[slot_X], reserved_node=cluster.state_N[node_X] == State.RESERVED,
        name=offset_U[at_X], name_size=size_U[at_X],
    )  # fmt: skip
