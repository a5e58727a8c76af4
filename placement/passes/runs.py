# SPDX-License-Identifier: Apache-2.0
# N candidate   C chunk   P stage   G group of stages   V chunk of a group   U extra blocks   Y block type   F frame
"""Candidate cuts of a model that is one long run of identical blocks between a few others at its ends.

That is what language models are: embedding and dense layers, the run, MTP and head. A *frame* says how the blocks at the ends
fall into the first and last chunks. Inside a frame only counts matter, and a stage's load ascends with its count, so
sharing the run out in order of load is exact for the largest load, whatever the schedule, the memory or the hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from placement.cost.memory import end_widths
from placement.passes.cuts import Problem, score_counts
from placement.solve.chain import share_units

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
MAX_ENDS = 6  # blocks beside the run; more make too many frames
NEAR = 1.03  # frames whose fullest stage is that near the best are compared by simulation
MAX_FRAMES = 4
# order of the chunks of a stage that get its next block: even with early or late chunks first, or all to the last, which holds
# fewest microbatches and so needs least memory
EARLY, LATE, LAST = 1e-6, -1e-6, -1e3


@dataclass(frozen=True)
class Frames:
    """Where the end blocks may be: `front_FC` and `back_FC` blocks before and after the run in each chunk.

    `open_FC`: chunks that may hold blocks of the run.
    """

    front_FC: Ints
    back_FC: Ints
    open_FC: Bools

    def __len__(self) -> int:
        return len(self.open_FC)

    def __getitem__(self, which: Ints) -> Frames:
        return Frames(self.front_FC[which], self.back_FC[which], self.open_FC[which])

    @property
    def least_FC(self) -> Ints:
        """Run blocks that a chunk must have, since no chunk is empty."""
        return np.asarray((self.front_FC + self.back_FC) == 0, dtype=np.int64)


@lru_cache(maxsize=64)
def frames(front: int, back: int, chunks: int) -> Frames:
    """Every way to cut the end blocks into pieces of whole chunks; only the innermost piece shares its chunk with the run."""
    ways = product(_compositions(front), _compositions(back))
    pairs = [(a, b) for a, b in ways if max(len(a), len(b), len(a) + len(b) - 1) <= chunks]
    front_FC, back_FC = np.zeros((2, len(pairs), chunks), dtype=np.int64)
    for f, (head, tail) in enumerate(pairs):
        front_FC[f, : len(head)] = head
        back_FC[f, chunks - len(tail) :] = tail
    heads, tails = (np.array([[len(pair[i])] for pair in pairs]) for i in (0, 1))
    at = np.arange(chunks)
    return Frames(front_FC, back_FC, (at >= heads - 1) & (at <= chunks - tails))


def _compositions(n: int) -> list[tuple[int, ...]]:
    """Ordered sums of positive integers.

    >>> _compositions(3)
    [(3,), (2, 1), (1, 2), (1, 1, 1)]
    """
    if n == 0:
        return [()]
    return [(first, *rest) for first in range(n, 0, -1) for rest in _compositions(n - first)]


@dataclass(frozen=True)
class _Run:
    """The model as a run: blocks lo..hi-1; all frames, and the end blocks of each chunk by type; chunks that are loaded
    together.

    `group_GV` are the chunks of each stage; under DualPipe those of each pair of stages.
    """

    task: Problem
    lo: int
    hi: int
    frames: Frames
    end_FCY: Floats
    group_GV: Ints
    width: float

    @property
    def size(self) -> int:
        return self.hi - self.lo

    @property
    def kind(self) -> int:
        return int(self.task.model.type_B[self.lo])


def _run_of(task: Problem, narrow: bool) -> _Run:
    lo, hi = main_run(np.asarray(task.model.type_B))
    every = frames(lo, task.model.num_blocks - hi, task.strategy.num_chunks)
    front, back = np.cumsum(every.front_FC, axis=1), hi + np.cumsum(every.back_FC, axis=1)
    ends = task.count_BY[front] - task.count_BY[front - every.front_FC]
    ends = ends + task.count_BY[back] - task.count_BY[back - every.back_FC]
    groups = task.chunk_PV[: task.strategy.pp // 2] if task.mirrored else task.chunk_PV
    inner = task.width_B[1:-1]
    return _Run(task, lo, hi, every, ends, groups, float(inner.min() if narrow else inner.max()) if len(inner) else 0.0)


def main_run(type_B: Ints) -> tuple[int, int]:
    """First and past-the-end block of the longest run of one type."""
    edges = np.flatnonzero(np.diff(type_B)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(type_B)]])
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


def is_run(task: Problem) -> bool:
    """Whether this module covers the model: few blocks beside the run."""
    lo, hi = main_run(np.asarray(task.model.type_B))
    return lo + task.model.num_blocks - hi <= MAX_ENDS


def run_candidates(task: Problem, narrow: bool = False) -> Ints:
    """Cuts (N, C + 1) worth simulating, best frames first; N = 0 where no cut fits in memory.

    Send buffers are counted for the widest inner cut (`narrow`: the narrowest); only skip edges make them differ.
    """
    run = _run_of(task, narrow)
    rules = (EARLY,) if run.group_GV.shape[1] == 1 else (EARLY, LAST)
    found = next(filter(None, (_ranked(run, tilt) for tilt in rules)), [])
    cuts: dict[tuple[int, ...], None] = {}
    for shared in found[:MAX_FRAMES]:
        if shared.load <= NEAR * found[0].load:
            cuts.update(dict.fromkeys(_cuts_of(run, shared)))
    return np.array(list(cuts), dtype=np.int64).reshape(len(cuts), task.strategy.num_chunks + 1)


@dataclass(frozen=True)
class _Shared:
    """A frame with the run shared out: largest load, run blocks by chunk (C, U) and load by group (G, U) for u extra blocks."""

    load: float
    frame: int
    count_CU: Ints
    load_GU: Floats
    total: int
    most: int


def _cuts_of(run: _Run, shared: _Shared) -> list[tuple[int, ...]]:
    """Cuts of equal largest load: odd blocks to these or those stages, and to the early or late chunks of a stage."""
    counts, frame = [shared.count_CU], np.array([shared.frame])
    if run.group_GV.shape[1] > 1:
        counts.append(_fill(run, frame, shared.load_GU.shape[1] - 1, LATE)[0])
    units = [share_units(shared.load_GU, shared.total, order) for order in _orders(len(run.group_GV))]
    ends_C = (run.frames.front_FC + run.frames.back_FC)[shared.frame]
    return [_cut(ends_C, count_CU, run.group_GV, u) for count_CU in counts for u in units if u is not None]


def _ranked(run: _Run, tilt: float) -> list[_Shared]:
    """Frames that fit, least load first. Frames that cannot come near the best are left out by a bound."""
    least_F = _least_loads(run)
    order = np.argsort(least_F, kind="stable")
    most = min(run.size, 3 * -(-run.size // len(run.group_GV)) // 2 + 3)
    while True:
        first, first_full = _shared(run, order[:1], tilt, most)
        cap = NEAR * first[0].load if first else np.inf
        rest, rest_full = _shared(run, order[1:][least_F[order[1:]] <= cap], tilt, most)
        found = sorted(first + rest, key=lambda r: r.load)
        if most == run.size or (found[0].most < most if found else first_full and rest_full):
            return found
        most = min(run.size, 2 * most)


def _least_loads(run: _Run) -> Floats:
    """Lower bound of the largest load of each frame: closed groups as they are, all else spread evenly over the open ones."""
    work, comm = (t[:, run.task.modes].min(axis=1) for t in run.task.time_YM)
    seconds_Y = work * run.task.slow_P.min() + comm
    end_FG = (run.end_FCY @ seconds_Y)[:, run.group_GV].sum(axis=2)
    open_FG = run.frames.open_FC[:, run.group_GV].any(axis=2)
    spread = (end_FG * open_FG).sum(axis=1) + run.size * seconds_Y[run.kind]
    share = 0.5 if run.task.mirrored else 1.0
    return np.asarray(share * np.maximum(end_FG.max(axis=1), spread / np.maximum(open_FG.sum(axis=1), 1)))


def _shared(run: _Run, some: Ints, tilt: float, most: int) -> tuple[list[_Shared], bool]:
    """Share the run out in each frame, at most `most` blocks more than the least to a group; frames that fit only.

    Also whether no group could hold `most` blocks more, so that a longer table would change nothing.
    """
    front = np.arange(len(run.group_GV))
    out: list[_Shared] = []
    full = True
    for frame, (count_CU, load_GU) in zip(some.tolist(), _tables(run, some, tilt, most) if len(some) else [], strict=True):
        total = run.size - int(count_CU[:, 0].sum())
        full &= not np.isfinite(load_GU[:, -1]).any()
        units = share_units(load_GU, total, front) if total >= 0 else None
        if units is not None:
            out.append(_Shared(float(load_GU[front, units].max()), frame, count_CU, load_GU, total, int(units.max())))
    return out, full


def _orders(groups: int) -> list[Ints]:
    """Who gets the odd block first: early stages, late stages, every other one, the middle."""
    front = np.arange(groups)
    spread = np.argsort(np.argsort([int(f"{g:010b}"[::-1], 2) for g in range(groups)]))
    return [front, front[::-1].copy(), spread, np.argsort(np.argsort(np.abs(2 * front - groups + 1), kind="stable"))]


def _tables(run: _Run, some: Ints, tilt: float, most: int) -> list[tuple[Ints, Floats]]:
    """For each frame: run blocks by chunk (C, U) and load (G, U) when every group has u = 0 .. `most` more than the least."""
    task = run.task
    count_FCU = _fill(run, some, most, tilt)
    one = np.eye(len(task.model.types))[run.kind]
    full = run.end_FCY[some][:, None] + np.swapaxes(count_FCU, 1, 2)[..., None] * one
    inner = np.full(task.strategy.num_chunks + 1, run.width)
    inner[[0, -1]] = 0.0
    tied = [np.repeat(np.stack([_chunk_of(run, some, i) for i in pair], axis=1), most + 1, axis=0) for pair in task.model.tied]
    count_NPVY = full.reshape(-1, *full.shape[2:])[:, task.chunk_PV]
    load_NP = score_counts(task, count_NPVY, end_widths(task.strategy, inner)[None], tied).load_NP
    load_FGU = np.swapaxes(load_NP.reshape(len(some), most + 1, -1), 1, 2)[:, : len(run.group_GV)]
    given_FGU = count_FCU[:, run.group_GV].sum(axis=2)
    room = given_FGU - given_FGU[..., :1] == np.arange(most + 1)  # a group without an open chunk takes none
    return list(zip(count_FCU, np.where(room, load_FGU, np.inf), strict=True))


def _chunk_of(run: _Run, some: Ints, block: int) -> Ints:
    """Chunk of an end block in some frames; -1 for a block of the run, whose chunk a frame does not say."""
    if run.lo <= block < run.hi:
        return np.full(len(some), -1)
    size_FC = run.frames.front_FC if block < run.lo else run.frames.back_FC
    before = block if block < run.lo else block - run.hi
    return np.asarray((np.cumsum(size_FC[some], axis=1) <= before).sum(axis=1))


def _fill(run: _Run, some: Ints, most: int, tilt: float) -> Ints:
    """Run blocks by chunk, (F, C, most + 1): each next block of a group goes to its lightest open chunk."""
    open_FC = run.frames.open_FC[some]
    has_FC = np.where(open_FC, run.frames.least_FC[some], 0)
    seconds_Y = run.task.first_mode_Y
    unit = max(float(seconds_Y[run.kind]), 1e-300)
    weight = np.where(open_FC, run.end_FCY[some] @ seconds_Y / unit + has_FC, np.inf)[:, run.group_GV]
    chunks = weight.shape[2]
    flat = weight.reshape(-1, chunks) + tilt * np.arange(chunks)
    rows = np.arange(len(flat))
    now = np.zeros((most + 1, *flat.shape), dtype=np.int64)
    for u in range(1, most + 1):
        lightest = flat.argmin(axis=1)
        now[u] = now[u - 1]
        now[u, rows, lightest] += np.isfinite(flat[rows, lightest])
        flat[rows, lightest] += 1.0
    out = np.repeat(has_FC[..., None], most + 1, axis=2)
    out[:, run.group_GV] += np.moveaxis(now.reshape(most + 1, *weight.shape), 0, -1)
    return out


def _cut(ends_C: Ints, count_CU: Ints, group_GV: Ints, units_G: Ints) -> tuple[int, ...]:
    size_C = ends_C.copy()
    size_C[group_GV] += count_CU[group_GV, units_G[:, None]]
    return (0, *np.cumsum(size_C).tolist())
