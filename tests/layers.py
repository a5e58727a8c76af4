# SPDX-License-Identifier: Apache-2.0
# B block   Y block type
"""Models and layer costs made by hand: one number a block type, so that every sum can be checked on paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from placement.cost.hardware import Hardware
from placement.cost.layers import LayerCost
from placement.ir import AXES, BlockType, Chip, ModelGraph, Opaque, Vocab

GB = 1e9


def hardware(hbm_bytes: float = 100 * GB) -> Hardware:
    """A GPU with endless links, so that only blocks take time."""
    chip = Chip("toy", "hopper", "hgx", {"bf16": 1e15}, hbm_bytes, 1e30, 450e9, True)
    return Hardware(chip, 1e30, 8, 8, np.array([1e-6, 2e-6]))


def chain(
    type_B: Sequence[int], *, types: int | None = None, tied: bool = False, skips: Sequence[tuple[int, int]] = ()
) -> ModelGraph:
    """Blocks of the given types in a row; type 0 is an embedding, the last type a head, if `tied`. `skips` are more edges."""
    count = types or max(type_B) + 1
    kinds = tuple(BlockType(f"type{y}", (Opaque(1.0, 1, 1.0, 1.0),), 8) for y in range(count))
    edges = sorted({*((i, i + 1) for i in range(len(type_B) - 1)), *skips})
    src, dst = (np.array([e[i] for e in edges], dtype=np.int64) for i in (0, 1))
    return ModelGraph(
        name="toy", types=kinds, type_B=np.array(type_B), src_E=src, dst_E=dst, width_E=np.full(len(edges), 8.0), hidden=8,
        vocab=64,
        block_names=tuple(f"block{i}" for i in range(len(type_B))), tied=((0, len(type_B) - 1),) if tied else (),
    )  # fmt: skip


def with_head(model: ModelGraph, vocab: int) -> ModelGraph:
    """The same model whose last block type is a head over `vocab` words."""
    head = BlockType("head", (Vocab(vocab, model.hidden, False),), model.hidden)
    facts = {f: getattr(model, f) for f in model.__dataclass_fields__}
    return ModelGraph(**(facts | {"types": (*model.types[:-1], head)}))


def layer_costs(
    seconds_YD: Sequence[Sequence[float]], *, act_YC: Sequence[Sequence[float]] | None = None,
    dense_Y: Sequence[float] | None = None, expert_Y: Sequence[float] | None = None,
    recompute_YC: Sequence[Sequence[float]] | None = None, edge: float = 0.0,
) -> LayerCost:  # fmt: skip
    """One shard (K = 1): compute seconds by type and direction, no communication, bytes kept, parameters."""
    seconds = np.array([seconds_YD], dtype=float)
    types = seconds.shape[1]
    none = np.zeros((1, types, 3))

    def given(values: object) -> np.ndarray:
        return none if values is None else np.array([values], dtype=float)

    def flat(values: Sequence[float] | None) -> np.ndarray:
        return np.zeros((1, types)) if values is None else np.array([values], dtype=float)

    return LayerCost(
        compute_KYD=seconds, recompute_KYC=given(recompute_YC), tp_KYD=none, cp_KYD=none, ep_KYD=none, gtp_KYD=none,
        act_KYC=given(act_YC), dense_KY=flat(dense_Y), expert_KY=flat(expert_Y), edge_K=np.array([edge]),
        hooked_KY=np.zeros((1, types)), sent_KYA=np.zeros((1, types, len(AXES))),
    )  # fmt: skip
