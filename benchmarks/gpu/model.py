# SPDX-License-Identifier: Apache-2.0
"""The transformers of the validation as PyTorch modules, and how torch.distributed spreads one over the ranks of a plan.

Tensor parallelism with sequence parallelism by DTensor, pipelines by torch.distributed.pipelining, data parallelism by FSDP2
(`sharding: fsdp` shards over dp; `none` replicates over dp), experts by the functional all-to-all and grouped_mm. The same
stack as torchtitan's: weights and gradients in fp32, computed in bf16, blocks compiled one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)


@dataclass(frozen=True)
class Shape:
    """A model of this folder. `experts` 0: dense, with `ffn`; else each expert has `ffn` columns and a token visits `topk`."""

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocab: int
    experts: int = 0
    topk: int = 0


class Attention(nn.Module):
    """Causal attention with rotary positions; heads of 128."""

    def __init__(self, shape: Shape, length: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(shape.hidden, shape.hidden, bias=False) for _ in range(4))
        angle = torch.outer(torch.arange(length), 10000.0 ** -(torch.arange(0, 128, 2) / 128))
        self.register_buffer("cos", angle.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sin", angle.sin().repeat(1, 2), persistent=False)

    def _turn(self, x: torch.Tensor) -> torch.Tensor:
        half = torch.cat((-x[..., 64:], x[..., :64]), dim=-1)
        return (x * self.cos[:, None] + half * self.sin[:, None]).type_as(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, S, hidden) -> (B, S, hidden); under tensor parallelism the heads of this rank."""
        q, k, v = (y.unflatten(-1, (-1, 128)) for y in (self.q(x), self.k(x), self.v(x)))
        q, k = self._turn(q), self._turn(k)
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True)
        return self.o(out.transpose(1, 2).flatten(-2))


class SwiGlu(nn.Module):
    """SwiGLU of Shazeer 2020."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(shape.hidden, shape.ffn, bias=False) for _ in range(2))
        self.down = nn.Linear(shape.ffn, shape.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, S, hidden) -> (B, S, hidden)."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Weights(nn.Module):
    """The matrices of this rank's experts, a module of its own so that FSDP gathers and reduces them over their own group."""

    def __init__(self, shape: Shape, local: int) -> None:
        super().__init__()
        self.gate, self.up = (nn.Parameter(torch.randn(local, shape.hidden, shape.ffn) * 0.02) for _ in range(2))
        self.down = nn.Parameter(torch.randn(local, shape.ffn, shape.hidden) * 0.02)

    def forward(self, x: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Rows sorted by expert, `ends` (local,) of each expert's rows."""
        middle = F.silu(F.grouped_mm(x, self.gate, offs=ends)) * F.grouped_mm(x, self.up, offs=ends)
        return F.grouped_mm(middle, self.down, offs=ends)


class Experts(nn.Module):
    """A routed layer, its router forced to balance as in published runs: token i visits experts i .. i+topk-1."""

    def __init__(self, shape: Shape, ep: int, group: torch.distributed.ProcessGroup | None) -> None:
        super().__init__()
        self.router = nn.Linear(shape.hidden, shape.experts, bias=False)
        self.weights = Weights(shape, shape.experts // ep)
        self.shape, self.ep, self.group = shape, ep, group

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, S, hidden) of this rank's tokens -> the same."""
        n, e, k = x.shape[0] * x.shape[1], self.shape.experts, self.shape.topk
        flat = x.flatten(0, 1)
        score = self.router(flat[None])[0].softmax(-1)  # one sequence: a router sharded along it can't flatten several
        token = torch.arange(n, device=x.device)
        expert = (token[:, None] + torch.arange(k, device=x.device)) % e
        order = expert.flatten().argsort(stable=True)
        rows, share = order // k, score.gather(1, expert).flatten()[order]
        sent = self._exchange(flat[rows])
        each = n * k // e
        local = e // self.ep
        mine = sent.unflatten(0, (self.ep, local, each)).transpose(0, 1).flatten(0, 2)
        ends = torch.arange(1, local + 1, device=x.device, dtype=torch.int32) * each * self.ep
        done = self.weights(mine, ends).unflatten(0, (local, self.ep, each)).transpose(0, 1).flatten(0, 2)
        back = self._exchange(done) * share[:, None]
        return torch.zeros_like(flat).index_add(0, rows, back.type_as(flat)).view_as(x)

    def _exchange(self, x: torch.Tensor) -> torch.Tensor:
        """Equal shares to and from every rank of the expert group."""
        if self.ep == 1:
            return x
        split = [len(x) // self.ep] * self.ep
        return all_to_all_single_autograd(x.contiguous(), split, split, self.group)


class Block(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, shape: Shape, length: int, ep: int, group: torch.distributed.ProcessGroup | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(shape.hidden), nn.RMSNorm(shape.hidden)
        self.attention = Attention(shape, length)
        self.ffn = Experts(shape, ep, group) if shape.experts else SwiGlu(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, S, hidden) -> (B, S, hidden)."""
        x = x + self.attention(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Chunk(nn.Module):
    """The layers of one pipeline chunk, in order; the first one embeds, the last one ends in logits."""

    def __init__(self, blocks: list[Block], shape: Shape, *, first: bool, last: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab, shape.hidden) if first else None
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(shape.hidden) if last else None
        self.head = nn.Linear(shape.hidden, shape.vocab, bias=False) if last else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (B, S) or activations -> activations or logits."""
        x = self.embedding(x) if self.embedding is not None else x
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)) if self.norm is not None and self.head is not None else x


def tensor_parallel(chunk: Chunk, mesh: DeviceMesh) -> None:
    """Columns and rows over `mesh`, activations between them sharded along the sequence (Korthikanti et al. 2022)."""
    plan: dict[str, object] = {}
    if chunk.embedding is not None:
        plan["embedding"] = RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1), use_local_output=True)
    if chunk.head is not None:
        plan["norm"] = SequenceParallel()
        plan["head"] = ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1), use_local_output=False)
    parallelize_module(chunk, mesh, plan)
    for block in chunk.blocks:
        whole = PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),))
        columns, rows = ColwiseParallel(), RowwiseParallel(output_layouts=Shard(1))
        layers: dict[str, object] = {
            "norm1": SequenceParallel(use_local_output=True), "norm2": SequenceParallel(use_local_output=True),
            "attention": whole, "attention.q": columns, "attention.k": columns, "attention.v": columns, "attention.o": rows,
        }  # fmt: skip
        if isinstance(block.ffn, SwiGlu):
            layers |= {"ffn": whole, "ffn.gate": columns, "ffn.up": columns, "ffn.down": rows}
        else:  # tokens stay sharded along the sequence; only the gradient of the router is summed over the group
            layers["ffn.router"] = SequenceParallel(use_local_output=True)
        parallelize_module(block, mesh, layers)


def data_parallel(chunk: Chunk, meshes: Mapping[str, DeviceMesh], *, shard: bool, dp: int) -> None:
    """FSDP2 over the data-parallel ranks; experts over theirs, their gradients divided as those of everything else."""
    mixed = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in chunk.blocks:
        if isinstance(block.ffn, Experts):
            fully_shard(block.ffn.weights, mesh=meshes["expert"], mp_policy=mixed, reshard_after_forward=shard)
            experts: FSDPModule = block.ffn.weights
            experts.set_gradient_divide_factor(float(dp))
        fully_shard(block, mesh=meshes["dense"], mp_policy=mixed, reshard_after_forward=shard)
    fully_shard(chunk, mesh=meshes["dense"], mp_policy=mixed, reshard_after_forward=shard)
