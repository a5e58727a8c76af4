# SPDX-License-Identifier: Apache-2.0
"""What one host can do, measured with PyTorch: the files that `placement calibrate` reads. One process a GPU (torchrun).

torchrun --nproc-per-node N -m benchmarks.gpu.micro OUT

OUT/matmul.csv      m,n,k,precision,seconds
OUT/kernels.csv     kind,flop,bytes,seconds: attention forward and backward, element-wise kernels, copies, small launches
OUT/host.csv        what,seconds: an empty step, and what the host needs to launch layers of the trainer beside this file
OUT/<collective>.log  in the format of nccl-tests
"""

from __future__ import annotations

import csv
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

from benchmarks.gpu.model import Block, Shape

WARM, TIMED, RUNS = 3, 10, 5
TOKENS = (1024, 4096, 8192, 16384)
WIDTHS = ((2048, 2048), (2048, 6144), (6144, 2048), (4096, 4096), (8192, 8192), (2048, 32000), (4096, 14336), (14336, 4096))
SIZES = [1 << p for p in range(10, 31, 2)]
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv")


def seconds(work: Callable[[], object]) -> float:
    """Median of several runs of a piece of work on the GPU, of the mean time in each."""
    for _ in range(WARM):
        work()
    found = []
    for _ in range(RUNS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        for _ in range(TIMED):
            work()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) * 1e-3 / TIMED)
    return float(statistics.median(found))


def matmuls() -> Iterator[dict[str, object]]:
    """bf16 and fp8 products of a token matrix and a weight, of random numbers (zeros draw less power and run faster)."""
    for m in TOKENS:
        for k, n in WIDTHS:
            a, b = (
                torch.randn(m, k, device="cuda", dtype=torch.bfloat16),
                torch.randn(n, k, device="cuda", dtype=torch.bfloat16),
            )
            yield {"m": m, "n": n, "k": k, "precision": "bf16", "seconds": seconds(lambda: a @ b.t())}  # noqa: B023
            a8, b8, one = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn), torch.ones((), device="cuda")

            def eight() -> object:
                return torch._scaled_mm(a8, b8.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True)  # noqa: B023, SLF001

            yield {"m": m, "n": n, "k": k, "precision": "fp8", "seconds": seconds(eight)}


def attention() -> Iterator[dict[str, object]]:
    """Causal attention cores, forward alone and with backward; flop counts half of the score matrix."""
    for batch, length, heads in ((4, 2048, 16), (1, 4096, 16), (4, 4096, 16), (4, 4096, 8), (1, 8192, 32), (1, 32768, 16)):
        shape = (batch, heads, length, 128)
        q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
        flop, byte = 2.0 * batch * heads * length * length * 128, 4.0 * q.numel() * 2

        def forward() -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)  # noqa: B023

        out = forward()
        grad = torch.randn_like(out)

        def backward() -> None:
            torch.autograd.grad(forward(), (q, k, v), grad)  # noqa: B023

        alone = seconds(forward)
        yield {"kind": "attention_forward", "flop": flop, "bytes": byte, "seconds": alone}
        yield {"kind": "attention_backward", "flop": 2.5 * flop, "bytes": 2 * byte, "seconds": seconds(backward) - alone}


def memory() -> Iterator[dict[str, object]]:
    """Copies at line rate, fused element-wise kernels as a compiler makes them, and the gap between small kernels."""
    big = torch.empty(1 << 29, device="cuda", dtype=torch.bfloat16)
    to = torch.empty_like(big)
    yield {"kind": "copy", "flop": 0.0, "bytes": 4.0 * big.numel(), "seconds": seconds(lambda: to.copy_(big))}
    x, gate, gain = torch.randn(8192, 6144, device="cuda").bfloat16(), torch.randn(8192, 6144, device="cuda").bfloat16(), None
    gain = torch.ones(6144, device="cuda", dtype=torch.bfloat16)
    norm, act = torch.compile(lambda v: F.rms_norm(v, (6144,), gain)), torch.compile(lambda a, b: F.silu(a) * b)
    yield {"kind": "norm", "flop": 0.0, "bytes": 4.0 * x.numel(), "seconds": seconds(lambda: norm(x))}
    yield {"kind": "swiglu", "flop": 0.0, "bytes": 6.0 * x.numel(), "seconds": seconds(lambda: act(x, gate))}
    weights = [torch.randn(2048, 2048, device="cuda", requires_grad=True) for _ in range(64)]
    for w in weights:
        w.grad = torch.randn_like(w)
    adam = torch.optim.AdamW(weights, fused=True)
    byte = sum(w.numel() for w in weights) * 4.0 * 7  # weight, two moments read and written, gradient read
    yield {"kind": "adam", "flop": 0.0, "bytes": byte, "seconds": seconds(adam.step)}
    dot = torch.zeros(1024, device="cuda")
    yield {"kind": "launch", "flop": 0.0, "bytes": 0.0, "seconds": seconds(lambda: dot.add_(1.0))}


def step_s(layers: int, experts: int) -> float:
    """Wall seconds of forward, backward and update of a few layers with next to nothing to compute: those of the host."""
    shape = Shape(layers, hidden=128, heads=1, ffn=128, vocab=0, experts=experts, topk=min(experts, 1))
    blocks = torch.nn.Sequential(*(Block(shape, 128, 1, None) for _ in range(layers)), torch.nn.RMSNorm(128)).cuda()
    if not experts:
        for block in blocks[:-1]:
            block.compile(dynamic=False)
    adam = torch.optim.AdamW(blocks.parameters(), fused=True)
    x = torch.randn(1, 128, 128, device="cuda")

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            loss = blocks(x).float().square().mean()
        loss.backward()
        adam.step()
        adam.zero_grad()
        loss.item()
        return time.perf_counter() - start

    return statistics.median([step() for _ in range(WARM + 4 * TIMED)][WARM:])


def hosts() -> Iterator[dict[str, object]]:
    """What a host takes, from steps of two and of ten layers. Layers with experts run uncompiled, as in the trainer."""
    dense, few, many = ((step_s(10, experts) - step_s(2, experts)) / 8 for experts in (0, 8, 64))
    expert = max((many - few) / (64 - 8), 1e-6)
    yield {"what": "empty_step", "seconds": step_s(0, 0)}
    yield {"what": "dense_layer", "seconds": dense}
    yield {"what": "expert", "seconds": expert}
    yield {"what": "routing", "seconds": max(few - 8 * expert - dense, 1e-6)}


def collective(kind: str, size: int) -> Callable[[], object]:
    """One call whose payload is what nccl-tests counts: the whole tensor; what a rank sends for alltoall and sendrecv."""
    world, rank = dist.get_world_size(), dist.get_rank()
    whole = torch.zeros(max(size // 2, world), device="cuda", dtype=torch.bfloat16)
    part, other = torch.zeros(len(whole) // world, device="cuda", dtype=torch.bfloat16), torch.zeros_like(whole)
    even = len(part) * world
    if kind == "all_reduce":
        return lambda: dist.all_reduce(whole)
    if kind == "all_gather":
        return lambda: dist.all_gather_into_tensor(whole[:even], part)
    if kind == "reduce_scatter":
        return lambda: dist.reduce_scatter_tensor(part, whole[:even])
    if kind == "alltoall":
        return lambda: dist.all_to_all_single(other[:even], whole[:even])

    def around() -> None:
        sends = [dist.P2POp(dist.isend, whole, (rank + 1) % world), dist.P2POp(dist.irecv, other, (rank - 1) % world)]
        for request in dist.batch_isend_irecv(sends):
            request.wait()

    return around


def log_of(kind: str) -> str:
    """Rows of one collective as nccl-tests prints them; the slowest rank counts."""
    world, host = dist.get_world_size(), socket.gethostname()
    lines = [f"# {kind}_perf by PyTorch {torch.__version__}, NCCL {'.'.join(map(str, torch.cuda.nccl.version()))}"]
    name = torch.cuda.get_device_name()
    lines += [f"#  Rank {r:2d} Group  0 Pid  {os.getpid()} on {host} device {r:2d} {name}" for r in range(world)]
    lines.append("#       size         count      type   redop    root     time   algbw   busbw #wrong")
    for size in SIZES:
        dist.barrier()
        took = torch.tensor([seconds(collective(kind, size))], device="cuda", dtype=torch.float64)
        dist.all_reduce(took, dist.ReduceOp.MAX)
        us = float(took) * 1e6
        bus = {"all_reduce": 2.0 * (world - 1) / world, "sendrecv": 1.0}.get(kind, (world - 1) / world)
        alg = size / us * 1e-3
        lines.append(f"{size:12d} {size // 2:13d}  bfloat16     sum      -1 {us:8.2f} {alg:7.2f} {alg * bus:7.2f}      0")
    return "\n".join([*lines, ""])


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def main(out: str) -> None:
    """Measures, rank 0 writes."""
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl", device_id=torch.device("cuda", int(os.environ["LOCAL_RANK"])))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    logs = {kind: log_of(kind) for kind in COLLECTIVES if dist.get_world_size() > 1}
    sweep, kernels, host = list(matmuls()), [*attention(), *memory()], list(hosts())
    if dist.get_rank() == 0:
        for kind, text in logs.items():
            (folder / f"{kind}.log").write_text(text, encoding="utf-8")
        write_csv(folder / "matmul.csv", sweep)
        write_csv(folder / "kernels.csv", kernels)
        write_csv(folder / "host.csv", host)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
