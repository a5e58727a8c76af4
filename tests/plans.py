# SPDX-License-Identifier: Apache-2.0
"""Plans made by hand: a cluster of 2 leafs x 2 nodes x 2 GPUs, and the same shape at any size."""

from __future__ import annotations

import numpy as np

from placement.ir import (
    MEMORY,
    Attention,
    BlockType,
    Candidate,
    Certificate,
    Chip,
    Cluster,
    Efficiency,
    Experts,
    FabricDesign,
    Job,
    Matmul,
    ModelGraph,
    Placement,
    Plan,
    Pointwise,
    Search,
    Spares,
    Stages,
    State,
    StepCost,
    Strategy,
    Tier,
    Traffic,
    Vocab,
)  # fmt: skip

CHIP = Chip("toy", "hopper", "hgx", {"bf16": 1e15}, 80e9, 3e12, 450e9, True)
SEQ_LEN = 16
INPUTS = {"model.yaml": b"model: toy\n", "topology.yaml": b"topology: tiny\n"}


def tiny_cluster(*, leafs: int = 2, nodes: int = 2, gpus: int = 2, states: dict[int, State] | None = None) -> Cluster:
    """`leafs` x `nodes` x `gpus`; each node is an NVLink domain, all leafs meet at one spine. `states`: node -> state."""
    n = leafs * nodes
    state_N = np.zeros(n, np.int64)
    for node, state in (states or {}).items():
        state_N[node] = state
    leaf_N = np.arange(n) // nodes
    ok_N = np.isin(state_N, (State.OK, State.RESERVED))
    nic_Bps = 50e9
    tiers = (
        Tier("nvlink", 1e-6, np.arange(n), np.full(n, gpus * nic_Bps)),
        Tier("leaf", 2e-6, leaf_N, np.full(leafs, nodes * gpus * nic_Bps)),
        Tier("spine", 4e-6, np.zeros(n, np.int64), np.array([np.inf])),
    )
    return Cluster(
        name="tiny", chips=(CHIP,), gpus_per_node=gpus, tiers=tiers, chip_N=np.zeros(n, np.int64), state_N=state_N,
        gpu_ok_NG=np.repeat(ok_N[:, None], gpus, axis=1), nic_Bps_N=np.full(n, nic_Bps), speed_N=np.ones(n),
        host_N=np.array([f"leaf{i // nodes:04d}-node{i % nodes:02d}" for i in range(n)]),
        domain_name_J=np.array([f"box{i}" for i in range(n)]), rail_G=np.arange(gpus), num_planes=1, rails_connected=True,
        design=FabricDesign({"leaf": leafs}, {"leaf-spine": leafs}),
    )  # fmt: skip


def tiny_model(*, layers: int = 4, mtp: int = 0, tied: bool = False) -> ModelGraph:
    """Embedding, dense and expert layers in turn, prediction layers, head: hidden 8, 4 experts of which a token takes 2."""
    attention = (
        Pointwise(8, "norm", "sp"), Matmul(8, 24, "col"), Attention(4, 4, 2, 2), Matmul(8, 8, "row"),
        Pointwise(8, "residual", "sp"),
    )  # fmt: skip
    types = (
        BlockType("embedding", (Vocab(64, 8, True),), 8),
        BlockType(
            "dense", (*attention, Matmul(8, 32, "col"), Pointwise(32, "act", "tp"), Matmul(32, 8, "row")), 8, norm_params=16
        ),
        BlockType("moe", (*attention, Experts(4, 2, 8, 16, True)), 8, norm_params=16),
        BlockType("head", (Vocab(64, 8, False),), 8, norm_params=8),
        *([BlockType("mtp", (*attention, Experts(4, 2, 8, 16, True)), 8, norm_params=16)] if mtp else []),
    )
    blocks = layers + mtp
    type_B = np.array([0, *(1 + i % 2 for i in range(layers)), *([4] * mtp), 3])
    edges = np.arange(blocks + 1)
    return ModelGraph(
        name="toy", types=types, type_B=type_B, src_E=edges, dst_E=edges + 1, width_E=np.full(blocks + 1, 8.0),
        hidden=8, vocab=64,
        block_names=("embedding", *(f"layer {i}" for i in range(layers)), *(f"mtp {i}" for i in range(mtp)), "head"),
        tied=((0, blocks + 1),) if tied else (),
        hypothetical=True,
    )  # fmt: skip


def tiny_strategy(cluster: Cluster, *, pp: int = 2, dp: int | None = None, vpp: int = 1) -> Strategy:
    """Tensor groups fill a node; experts fold 2 ranks of a stage."""
    tp = cluster.gpus_per_node
    dp = dp or int(cluster.whole_N.sum()) // pp
    return Strategy(
        tp=tp, cp=1, ep=2, etp=1, dp=dp, pp=pp, vpp=vpp, micro_batch=1, num_microbatches=4,
        schedule="1f1b" if vpp == 1 else "interleaved", recompute="none", sharding="zero1",
    )  # fmt: skip


def tiny_cost(strategy: Strategy, step_s: float = 1.0) -> StepCost:
    """Invented, but consistent: parts sum to the step."""
    memory = np.ones((strategy.pp, len(MEMORY))) * 1e9
    parts = {"compute": 0.75 * step_s, "tp": 0.25 * step_s}
    parts |= dict.fromkeys(("cp", "ep", "pp", "dp", "bubble", "optimizer", "overhead"), 0.0)
    tokens = strategy.dp * strategy.micro_batch * strategy.num_microbatches * SEQ_LEN / (step_s * strategy.world_size)
    return StepCost(
        step_s, parts, np.full(strategy.pp, 0.75 * step_s), memory, tokens, 0.4, {"dp": {"nvlink": 1e9, "leaf": 5e8}}
    )


def tiny_plan(
    cluster: Cluster | None = None, *, tied: bool = False, reverse: bool = False, spares: int = 0, vpp: int = 1
) -> Plan:
    """A whole plan without the compiler. `reverse` numbers the GPUs from the last one down; `spares` hosts stay free."""
    cluster, model = cluster or tiny_cluster(), tiny_model(tied=tied)
    strategy = tiny_strategy(cluster, dp=(int(cluster.whole_N.sum()) - spares) // 2, vpp=vpp)
    gpu_R = np.flatnonzero(cluster.usable_NG.ravel())[: strategy.world_size]
    chunk_B = np.arange(model.num_blocks) * strategy.num_chunks // model.num_blocks
    stages = Stages(chunk_B, tuple("none" if p % 2 == 0 else "full" for p in range(strategy.pp)))
    chosen = Candidate(strategy, stages, Placement(gpu_R[::-1].copy() if reverse else gpu_R), Traffic(()), tiny_cost(strategy))
    return Plan(
        cluster=cluster, model=model, job=Job(seq_len=SEQ_LEN, global_batch=4 * strategy.dp, spares=Spares("gpus", 0)),
        efficiency=Efficiency({"x": 1.0}, "invented"), chosen=chosen, baseline=tiny_cost(strategy, 1.25),
        certificate=Certificate({"leaf": 4e8}, {"leaf": 5e8}, {"leaf": "counting"}),
        search=Search(20, 5, 2, {"memory": 10, "divisibility": 5}, 0.9, False, ((strategy, 1.0),), "budget"),
        warnings=("nothing here was measured",),
    )  # fmt: skip
