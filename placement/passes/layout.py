# SPDX-License-Identifier: Apache-2.0
# B block   C chunk
"""How published runs cut a model into pipeline chunks, where nobody wrote it down."""

from __future__ import annotations

import numpy as np

from placement.cost.flops import block_flops
from placement.ir import ModelGraph, Stages, Strategy
from placement.ir._array import Floats, Ints


def usual_stages(model: ModelGraph, strategy: Strategy, seq_len: int) -> Stages:
    """Megatron's split: as many layers in every chunk where that divides, the embedding before and the head after them.

    If it divides only when embedding and head count as layers, they do (Megatron's account_for_embedding_... options). Else the
    chunks are balanced by FLOPs, as hand-written layouts of uneven models are (DeepSeek-V3: 61 layers and a prediction module).
    """
    chunks = strategy.num_chunks
    layer_B = np.array([name.startswith("layer") for name in model.block_names])
    layers = int(layer_B.sum())
    extra = model.num_blocks - layers
    if extra == 2 and layers and layers % chunks == 0:
        chunk_B = np.clip(np.cumsum(layer_B) - 1, 0, None) // (layers // chunks)
    elif extra == 2 and (layers + 2) % chunks == 0:
        chunk_B = np.arange(model.num_blocks) // ((layers + 2) // chunks)
    else:
        weight_B = np.array([block_flops(model.types[t], seq_len) for t in model.type_B])
        chunk_B = balanced(weight_B, chunks)
    return Stages(chunk_B.astype(np.int64), (strategy.recompute,) * strategy.pp)


def balanced(weight_B: Floats, chunks: int) -> Ints:
    """Contiguous cut of blocks into `chunks` parts whose heaviest is as light as possible: bisection on the bound."""
    assert len(weight_B) >= chunks
    low, high = float(weight_B.max()), float(weight_B.sum())
    for _ in range(50):
        middle = (low + high) / 2
        if _parts(weight_B, middle)[-1] < chunks:
            high = middle
        else:
            low = middle
    return _spread(_parts(weight_B, high), chunks)


def _parts(weight_B: Floats, bound: float) -> Ints:
    """Chunk of each block when every chunk takes as much as the bound allows."""
    out: list[int] = []
    chunk, filled = 0, 0.0
    for weight in weight_B.tolist():
        if filled + weight > bound * (1 + 1e-12) and out:
            chunk, filled = chunk + 1, 0.0
        filled += weight
        out.append(chunk)
    return np.array(out)


def _spread(chunk_B: Ints, chunks: int) -> Ints:
    """Cut the longest chunks until there are `chunks` of them."""
    while (have := int(chunk_B[-1]) + 1) < chunks:
        longest = int(np.argmax(np.bincount(chunk_B)))
        first = int(np.flatnonzero(chunk_B == longest)[0])
        size = int((chunk_B == longest).sum())
        assert size > 1 and have < chunks
        chunk_B = chunk_B + (np.arange(len(chunk_B)) >= first + size // 2)
    return chunk_B
