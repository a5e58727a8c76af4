# SPDX-License-Identifier: Apache-2.0
"""Trains the models of this folder by the plans that it is given, and measures step time and peak memory of each.

placement-exec --all-local PLAN python -m benchmarks.gpu.train RESULTS.jsonl PLAN...

One process a GPU serves all plans, one after the other, so that each process starts CUDA once. Sizes, layers of a stage and
members of every group come from the plan; a process whose place differs from the plan's stops.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch._functorch.config
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import Schedule1F1B, ScheduleInterleaved1F1B, ScheduleZBVZeroBubble
from torch.distributed.tensor.parallel import loss_parallel

import placement
from benchmarks.gpu.model import Block, Chunk, Shape, data_parallel, tensor_parallel
from placement.runtime.layout import Section

PATIENCE_S = 100  # for one plan, compilation included
WARM, STEPS = 4, int(os.environ.get("STEPS", "20"))
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if CUDA else torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """A plan as this process sees it."""

    plan: Any  # placement.runtime.LoadedPlan
    shape: Shape
    length: int
    rank: int
    meshes: dict[str, DeviceMesh]

    @property
    def strategy(self) -> Any:
        """Degrees of the plan."""
        return self.plan.strategy


def open_case(folder: Path, rank: int) -> Case:
    """The plan, its groups as meshes, each compared with the communicators of plan.bin."""
    plan = placement.load_plan(folder)
    told = json.loads((folder.parent / f"{folder.name}.json").read_text())
    record, s = plan.bin[Section.RANKS][rank], plan.strategy
    assert int(record["slot"]) == int(os.environ["LOCAL_RANK"]), "this process stands on another GPU than the plan says"
    shard = s.dp if s.sharding == "fsdp" else 1
    edp_shard = s.edp if s.sharding == "fsdp" else 1
    dense = init_device_mesh(DEVICE.type, (s.pp, s.dp // shard, shard, s.tp), mesh_dim_names=("pp", "copy", "shard", "tp"))
    expert = init_device_mesh(
        DEVICE.type, (s.pp, s.edp // edp_shard, edp_shard, s.ep), mesh_dim_names=("epp", "ecopy", "eshard", "ep")
    )
    meshes = {
        "pp": dense["pp"], "tp": dense["tp"], "ep": expert["ep"],
        "dense": dense["copy", "shard"] if shard == 1 else dense["shard"],
        "expert": expert["ecopy", "eshard"] if edp_shard == 1 else expert["eshard"],
    }  # fmt: skip
    for axis, mesh in (("pp", "pp"), ("tp", "tp"), ("ep", "ep")):
        members = dist.get_process_group_ranks(meshes[mesh].get_group())
        assert members == next(row for row in s.groups(axis).tolist() if rank in row), f"{axis} group differs from the plan"
    return Case(plan, Shape(**told["shape"]), told["length"], rank, meshes)


def chunks_of(case: Case) -> dict[int, Chunk]:
    """The chunks of this rank's stage as modules, spread over its groups: chunk -> module, in the order of the plan."""
    stage = int(case.strategy.coordinates(torch.tensor(case.rank).numpy())["pp"])
    s, out = case.strategy, {}
    for told in case.plan.json["stages"][stage]["chunks"]:
        names = told["layers"]
        blocks = [Block(case.shape, case.length, s.ep, case.meshes["ep"].get_group()) for n in names if n.startswith("layer")]
        chunk = Chunk(blocks, case.shape, first="embedding" in names, last="head" in names).to(DEVICE)
        if s.tp > 1:
            tensor_parallel(chunk, case.meshes["tp"])
        if CUDA and not os.environ.get("EAGER"):
            for block in chunk.blocks:
                part = (
                    block.attention if s.tp > 1 and case.shape.experts else block
                )  # torch 2.11 refuses a router under DTensor
                part.compile(dynamic=False)
        data_parallel(chunk, case.meshes, shard=s.sharding == "fsdp", dp=s.dp)
        out[int(told["chunk"])] = chunk
    return out


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy in fp32."""
    return F.cross_entropy(logits.flatten(0, 1).float(), target.flatten())


def piped(case: Case, chunks: dict[int, Chunk]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor | float]:
    """One step of a pipeline over all microbatches; the loss where the last chunk runs, else 0."""
    s, group = case.strategy, case.meshes["pp"].get_group()
    loss = torch.compile(loss_of) if CUDA and s.tp == 1 and not os.environ.get("EAGER") else loss_of
    stages = [PipelineStage(m, c, s.num_chunks, DEVICE, group=group) for c, m in sorted(chunks.items())]
    kind = {"interleaved": ScheduleInterleaved1F1B, "zb-v": ScheduleZBVZeroBubble, "1f1b": Schedule1F1B}[s.schedule]
    schedule = kind(stages[0] if s.vpp == 1 else stages, s.num_microbatches, loss_fn=loss)
    first, last = 0 in chunks, s.num_chunks - 1 in chunks

    def step(tokens: torch.Tensor, target: torch.Tensor) -> torch.Tensor | float:
        losses: list[torch.Tensor] = []
        with loss_parallel() if s.tp > 1 else contextlib.nullcontext():
            schedule.step(*([tokens] if first else []), **({"target": target, "losses": losses} if last else {}))
        return sum(losses) / s.num_microbatches if last else 0.0

    return step


def accumulated(case: Case, chunk: Chunk) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor | float]:
    """One step of a single stage, and its loss: microbatches one after the other, gradients reduced behind the last."""
    s = case.strategy
    loss = torch.compile(loss_of) if CUDA and s.tp == 1 and not os.environ.get("EAGER") else loss_of
    root: FSDPModule = chunk

    def step(tokens: torch.Tensor, target: torch.Tensor) -> torch.Tensor | float:
        total: torch.Tensor | float = 0.0
        pairs = list(zip(tokens.split(s.micro_batch), target.split(s.micro_batch), strict=True))
        for i, (x, y) in enumerate(pairs):
            final = i == len(pairs) - 1
            root.set_requires_gradient_sync(final or s.sharding == "fsdp")
            root.set_reshard_after_backward(final or s.sharding == "fsdp")
            with loss_parallel() if s.tp > 1 else contextlib.nullcontext():
                part = loss(chunk(x), y) / len(pairs)
                part.backward()
            total = total + part.detach()
        return total

    return step


def measure(case: Case) -> dict[str, Any]:
    """Step times (the slowest rank of each step), and peak memory of each rank."""
    torch.manual_seed(0)
    s = case.strategy
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    chunks = chunks_of(case)
    step = piped(case, chunks) if s.pp > 1 else accumulated(case, chunks[0])
    adam = torch.optim.AdamW([p for m in chunks.values() for p in m.parameters()], lr=1e-4, fused=CUDA)
    torch.manual_seed(1 + case.rank // s.tp % s.dp)  # replicas see their own tokens
    batch = torch.randint(case.shape.vocab, (s.micro_batch * s.num_microbatches, case.length + 1), device=DEVICE)
    tokens, target = batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
    losses: list[torch.Tensor | float] = []

    def work() -> None:
        losses.append(step(tokens, target))
        adam.step()
        adam.zero_grad()

    took = [timed(work) for _ in range(WARM + STEPS)]
    every = torch.tensor(took[WARM:], device=DEVICE, dtype=torch.float64)
    dist.all_reduce(every, dist.ReduceOp.MAX)
    seconds = every.tolist()
    peak = [torch.zeros(1, device=DEVICE, dtype=torch.int64) for _ in range(s.world_size)]
    dist.all_gather(peak, torch.tensor([torch.cuda.max_memory_allocated() if CUDA else 0], device=DEVICE))
    return {
        "step_s": statistics.median(seconds), "steps_s": seconds, "peak_bytes_R": [int(p) for p in peak],
        "losses": [_most(losses[0]), _most(losses[-1])],
    }  # fmt: skip


def _most(loss: torch.Tensor | float) -> float:
    """The loss on whichever rank has it."""
    whole = loss.full_tensor() if hasattr(loss, "full_tensor") else loss
    out = torch.as_tensor(whole, device=DEVICE, dtype=torch.float64).detach().clone()
    dist.all_reduce(out, dist.ReduceOp.MAX)
    return float(out)


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of one step, from a common start to the end of all work of this GPU."""
    dist.barrier()
    if CUDA:
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def run(folder: Path, rank: int) -> dict[str, Any]:
    """The result of one plan. A rank that fails or hangs ends its process, and so all; the caller goes on."""
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    start = time.perf_counter()
    case = open_case(folder, rank)
    found = {"case": folder.name, "model": folder.parent.name, "digest": case.plan.digest} | measure(case)
    del case
    gc.collect()
    torch._dynamo.reset()  # noqa: SLF001  each strategy has its own shapes
    if CUDA:
        torch.cuda.empty_cache()
    faulthandler.cancel_dump_traceback_later()
    return found | {"wall_s": time.perf_counter() - start}


def main(out: str, *names: str) -> None:
    """Rank 0 writes a line a plan as soon as it is measured."""
    if CUDA:
        torch.cuda.set_device(DEVICE)
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001
    torch._functorch.config.donated_buffer = False  # noqa: SLF001  zero-bubble schedules run parts of a backward twice
    dist.init_process_group("nccl" if CUDA else "gloo", **({"device_id": DEVICE} if CUDA else {}))
    rank = dist.get_rank()
    for name in names:
        found = run(Path(name), rank)
        if rank == 0:
            print(found["case"], f"{found['step_s'] * 1e3:.1f} ms  {found['wall_s']:.0f} s", flush=True)
            with Path(out).open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
