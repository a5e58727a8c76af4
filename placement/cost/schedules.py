# SPDX-License-Identifier: Apache-2.0
# C chunk   P stage   V chunk of a stage   R row of held microbatches
"""Pipeline schedules as fixed orders of operations per stage: what runs after what, without times.

A node is what a stage runs as one piece: a forward, a full backward, an input gradient, a weight gradient, or DualPipe's
forward-and-backward pair. A lane is the list of nodes of one stage. Every microbatch passes each chunk exactly once.

Sources: 1F1B and interleaved as Megatron-LM `core/pipeline_parallel/schedules.py` (Narayanan et al. 2021); ZB-H1 Qi et al.
2023 (arXiv 2401.10241) §3; ZB-V as `torch.distributed.pipelining.ScheduleZBVZeroBubble`; DualPipe and DualPipeV as
`deepseek-ai/DualPipe` (`dualpipe.py`, `dualpipev.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

FORWARD, BACKWARD, DGRAD, WGRAD = range(4)  # BACKWARD: input and weight gradient as one operation
KINDS = ("forward", "backward", "dgrad", "wgrad")

Piece = tuple[int, int, int]  # kind, chunk, microbatch
Node = tuple[Piece, ...]
Ints = npt.NDArray[np.int64]


def misfit(schedule: str, pp: int, vpp: int, num_microbatches: int) -> str:
    """Why a schedule cannot run at these degrees, or an empty string.

    Megatron refuses interleaving of fewer microbatches than stages; DualPipe folds two halves, so it needs an even `pp`.
    """
    wanted = {"1f1b": vpp == 1, "zb-h1": vpp == 1, "dualpipe": vpp == 1, "zb-v": vpp == 2, "dualpipev": vpp == 2}
    if schedule != "interleaved" and schedule not in wanted:
        return f"unknown schedule {schedule}"
    if min(pp, vpp, num_microbatches) < 1:
        return "degrees must be positive"
    if not wanted.get(schedule, True):
        return f"{schedule} does not run with vpp {vpp}"
    if schedule == "dualpipe" and pp % 2 and pp > 1:
        return "dualpipe needs an even pp"
    if schedule == "interleaved" and vpp > 1 and pp > num_microbatches:
        return "interleaved needs at least pp microbatches"
    return ""


def stage_of(schedule: str, pp: int, chunk: int, microbatch: int, num_microbatches: int) -> int:
    """Stage that runs a chunk for a microbatch; under DualPipe the second half of the batch runs from the other end."""
    if schedule in ("zb-v", "dualpipev"):
        return chunk if chunk < pp else 2 * pp - 1 - chunk
    if schedule == "dualpipe" and microbatch >= first_half(num_microbatches):
        return pp - 1 - chunk
    return chunk % pp


def first_half(num_microbatches: int) -> int:
    """Microbatches that enter DualPipe at stage 0; the others enter at the last stage."""
    return (num_microbatches + 1) // 2


def lanes(schedule: str, pp: int, vpp: int, num_microbatches: int) -> list[Ints]:
    """Order of the nodes of every stage, as rows (node of the stage, kind, chunk, microbatch), a row a piece.

    Raises ValueError where the schedule does not fit the degrees (see `misfit`). Interleaving of fewer microbatches than
    stages, which Megatron refuses, runs here as one group.
    """
    if schedule != "interleaved" and (reason := misfit(schedule, pp, vpp, num_microbatches)):
        raise ValueError(reason)
    return [_lane(schedule, pp, vpp, p, num_microbatches) for p in range(pp)]


def _lane(schedule: str, pp: int, vpp: int, p: int, m: int) -> Ints:
    match schedule:
        case "interleaved":
            return _interleaved(pp, vpp, p, m)
        case "zb-h1":
            return _rows(_zb_h1(pp, p, m))
        case "zb-v":
            return _rows(_kept(_zb_v(pp, p, max(m, 2 * pp - 1)), m))
        case "dualpipev":
            return _rows(_kept(_dualpipe_v(pp, p, max(m, 2 * pp)), m))
        case "dualpipe" if pp > 1:
            return _rows(_dualpipe(pp, p, m))
        case _:
            return _alternating(np.stack([np.full(m, p), np.arange(m)]), np.stack([np.full(m, p), np.arange(m)]), pp - 1 - p)


def _rows(nodes: Iterator[Node]) -> Ints:
    return np.array([(i, *piece) for i, node in enumerate(nodes) for piece in node], dtype=np.int64).reshape(-1, 4)


def _alternating(forward: Ints, backward: Ints, warm: int) -> Ints:
    """`warm` forwards, then a forward and a backward in turn, then the other backwards; both (chunk, microbatch) by order."""
    n = forward.shape[1]
    warm, i = min(n, warm), np.arange(n)
    out = np.empty((2 * n, 4), dtype=np.int64)
    out[:, 0] = np.arange(2 * n)
    for kind, given, at in (
        (FORWARD, forward, np.where(i < warm, i, 2 * i - warm)),
        (BACKWARD, backward, np.where(i < n - warm, warm + 2 * i + 1, n + i)),
    ):
        out[at, 1], out[at, 2], out[at, 3] = kind, given[0], given[1]
    return out


def group_size(pp: int, num_microbatches: int) -> int:
    """Microbatches of one chunk that run before the next chunk (Megatron's `microbatch_group_size_per_vp_stage`).

    Megatron wants the last group empty or at least `pp` long. We take the smallest group of at least `pp` that obeys; a batch
    shorter than `pp` is one group.
    """
    m = num_microbatches
    return next((n for n in range(pp, m) if m % n == 0 or m % n >= pp), m)


def _interleaved(pp: int, vpp: int, p: int, m: int) -> Ints:
    group = group_size(pp, m)
    table = [(v, k) for lo in range(0, m, group) for v in range(vpp) for k in range(lo, min(lo + group, m))]
    v, k = np.array(table).T
    return _alternating(np.stack([v * pp + p, k]), np.stack([(vpp - 1 - v) * pp + p, k]), 2 * (pp - 1 - p) + (vpp - 1) * group)


def _zb_h1(pp: int, p: int, m: int) -> Iterator[Node]:
    """1F1B whose weight gradients run `p` microbatches late on stage p: the memory of stage 0 of 1F1B on every stage."""
    warm = min(m, pp - 1 - p)
    yield from (((FORWARD, p, k),) for k in range(warm))
    for k in range(m):
        if k + warm < m:
            yield ((FORWARD, p, k + warm),)
        yield ((DGRAD, p, k),)
        if k >= p:
            yield ((WGRAD, p, k - p),)
    yield from (((WGRAD, p, k),) for k in range(max(0, m - p), m))


def _kept(nodes: Iterator[Node], m: int) -> Iterator[Node]:
    """Drop the microbatches that a short batch does not have from a schedule made for a longer one."""
    for node in nodes:
        left = tuple(piece for piece in node if piece[2] < m)
        if left:
            yield left


class _Counter:
    """Next microbatch of each operation and direction; weight gradients put off are a queue (DualPipe: WeightGradStore)."""

    def __init__(self, chunks: tuple[int, int]) -> None:
        self.chunks = chunks
        self.next: dict[tuple[int, int], int] = {}
        self.late: list[tuple[int, int]] = []

    def take(self, kind: int, side: int) -> Piece:
        k = self.next.get((kind, side), 0)
        self.next[kind, side] = k + 1
        return kind, self.chunks[side], k

    def forward(self, side: int) -> Node:
        return (self.take(FORWARD, side),)

    def backward(self, side: int, put_off: bool = False) -> Node:
        kind, chunk, k = self.take(BACKWARD, side)
        if put_off:
            self.late.append((chunk, k))
        return ((DGRAD if put_off else kind, chunk, k),)

    def pair(self, forward_side: int, backward_side: int) -> Node:
        return self.forward(forward_side) + self.backward(backward_side)

    def weight(self, side: int | None = None) -> Node:
        """The oldest weight gradient put off, of one side or of both."""
        at = next(i for i, (chunk, _) in enumerate(self.late) if side is None or chunk == self.chunks[side])
        return ((WGRAD, *self.late.pop(at)),)


def _zb_v(pp: int, p: int, m: int) -> Iterator[Node]:
    take = _Counter((p, 2 * pp - 1 - p))
    yield from (take.forward(0) for _ in range(2 * (pp - p) - 1))
    for _ in range(p):
        yield take.forward(1)
        yield take.forward(0)
    for _ in range(pp - p):
        yield take.forward(1)
        yield take.backward(1, put_off=True)
        yield take.weight()
    ahead, behind = 2 * (pp - p) - 1 + p, pp  # forwards so far of the two chunks
    while behind < ahead or ahead < m:
        if ahead < m:
            yield take.forward(0)
            ahead += 1
        yield take.backward(0, put_off=True)
        yield take.weight()
        yield take.forward(1)
        behind += 1
        yield take.backward(1, put_off=True)
        yield take.weight()
    for _ in range(p):
        yield take.backward(0, put_off=True)
        yield take.backward(1, put_off=True)
    for _ in range(pp - p):
        yield take.backward(0, put_off=True)
        yield take.weight(side=0)
    while take.late:
        yield take.weight(side=1 if any(c == take.chunks[1] for c, _ in take.late) else 0)


def _dual(pp_half: int, h: int, m: int, take: _Counter) -> Iterator[Node]:
    """The eight steps that DualPipe and DualPipeV share: `pp_half` stages deep, `h` from the entrance, `m` a direction."""
    yield from (take.forward(0) for _ in range(2 * (pp_half - h - 1)))
    for _ in range(h + 1):
        yield take.forward(0)
        yield take.forward(1)
    for _ in range(pp_half - h - 1):
        yield take.backward(1, put_off=True)
        yield take.weight()
        yield take.forward(1)
    for i in range(m - 2 * pp_half + h + 1):
        if i == 0 and h == pp_half - 1:
            yield take.forward(0)
            yield take.backward(1)
        else:
            yield take.pair(0, 1)
        yield take.pair(1, 0)
    for _ in range(pp_half - h - 1):
        yield take.backward(1)
        yield take.pair(1, 0)
    yield from _dual_end(pp_half, h, take)


def _dual_end(pp_half: int, h: int, take: _Counter) -> Iterator[Node]:
    put_off = False
    for i in range(h + 1):
        put_off |= i == (h + 1) // 2 and h % 2 == 1
        yield take.backward(1, put_off)
        put_off |= i == (h + 1) // 2 and h % 2 == 0
        yield take.backward(0, put_off)
    for _ in range(pp_half - h - 1):
        yield take.weight()
        yield take.backward(0, put_off=True)
    while take.late:
        yield take.weight()


def _dualpipe_v(pp: int, p: int, m: int) -> Iterator[Node]:
    return _dual(pp, p, m, _Counter((p, 2 * pp - 1 - p)))


def _dualpipe(pp: int, p: int, m: int) -> Iterator[Node]:
    """Both directions of DualPipe on stage p; side 0 enters at the nearer end.

    Microbatches of the far end follow the others.
    """
    half, near = first_half(m), min(p, pp - 1 - p)
    flipped = p >= pp // 2
    chunk = {False: p, True: pp - 1 - p}  # chunk that stage p runs for the first and for the second half of the batch
    take = _Counter((int(flipped), 1 - int(flipped)))  # the direction stands in the place of the chunk for now
    size = (half, m - half)
    for node in _dual(pp // 2, near, max(half, pp), take):
        left = tuple((kind, chunk[bool(d)], k + d * half) for kind, d, k in node if k < size[d])
        if left:
            yield left
