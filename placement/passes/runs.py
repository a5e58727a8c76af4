# SPDX-License-Identifier: Apache-2.0
# N candidate   C chunk   P stage   G group of stages   V chunk of a group   U extra blocks   Y block type   F frame
"""Candidate cuts of a model that is one long run of identical blocks between a few others at its ends.

That is what language models are: embedding and dense layers, the run, MTP and head. A *frame* says how the blocks at the ends fall
into the first and last chunks. Inside a frame only counts matter, and a stage's load ascends with its count, so
sharing the run out in order of load is exact for the largest load, whatever the schedule, the memory or the hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from placement.cost.memory import end_widths
from placement.passes.cuts import Problem, score_counts
from placement.solve.chain import share_units

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAX_ENDS = 6  # blocks beside the run; more make too many frames
NEAR = 1.03  # frames whose fullest stage is that near the best are compared by simulation
MAX_FRAMES = 4


@dataclass(frozen=True)
class Frame:
    """Where the end blocks are: `front_C` and `back_C` blocks before and after the run in each chunk; `open_C` may hold run blocks."""

    front_C: Ints
    back_C: Ints
    open_C: npt.NDArray[np.bool_]

    @property
    def least_C(self) -> Ints:
        """Run blocks that a chunk must have, since no chunk is empty."""
        return ((self.front_C + self.back_C) == 0).astype(np.int64)


def main_run(type_B: Ints) -> tuple[int, int]:
    """First and past-the-end block of the longest run of one type."""
    edges = np.flatnonzero(np.diff(type_B)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(type_B)]])
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


def is_run(task: Problem) -> bool:
    """Whether this module covers the model: few end blocks, and every inner cut as wide as any other."""
    lo, hi = main_run(np.asarray(task.model.type_B))
    inner = task.width_B[1:-1]
    return lo + task.model.num_blocks - hi <= MAX_ENDS and bool(np.all(inner == inner[:1]))


def run_candidates(task: Problem) -> Ints:
    """Cuts (N, C + 1) worth simulating, best frames first; N = 0 where no cut fits in memory."""
    lo, hi = main_run(np.asarray(task.model.type_B))
    found: dict[tuple[int, ...], None] = {}
    extremes = ("early", "late") if task.strategy.vpp > 1 else ("early",)
    for late in (e == "late" for e in extremes):
        for cut in _of_rule(task, lo, hi, late):
            found[cut] = None
    return np.array(list(found), dtype=np.int64).reshape(len(found), task.strategy.num_chunks + 1)


def _of_rule(task: Problem, lo: int, hi: int, late: bool) -> list[tuple[int, ...]]:
    groups = _groups(task)
    ranked = _ranked(task, groups, lo, hi, late, min(hi - lo, 3 * -(-(hi - lo) // len(groups)) + 2))
    out = []
    for load, _, frame, count_CU, load_GU, total in ranked[:MAX_FRAMES]:
        if load <= NEAR * ranked[0][0]:
            out += [_cut(frame, count_CU, groups, share_units(load_GU, total, o)) for o in _orders(len(groups))]
    return out


def _ranked(
    task: Problem, groups: Ints, lo: int, hi: int, late: bool, extra: int
) -> list[tuple[float, int, Frame, Ints, Floats, int]]:
    """Frames that fit, least load first, with their tables of at most `extra` blocks a group; more where that was too few."""
    all_frames = frames(lo, task.model.num_blocks - hi, task.strategy.num_chunks)
    tables = _tables(task, all_frames, groups, hi - lo, lo, late, extra)
    front = np.arange(len(groups))
    ranked, most = [], 0
    for frame, (count_CU, load_GU) in zip(all_frames, tables, strict=True):
        total = hi - lo - int(count_CU[:, 0].sum())
        units = share_units(load_GU, total, front) if total >= 0 else None
        if units is not None:
            most = max(most, int(units.max()))
            ranked.append((float(load_GU[front, units].max()), len(ranked), frame, count_CU, load_GU, total))
    if extra < hi - lo and (not ranked or most == extra):
        return _ranked(task, groups, lo, hi, late, hi - lo)
    return sorted(ranked, key=lambda r: r[:2])


def _orders(groups: int) -> list[Ints]:
    """Who gets the odd block first: early stages, late stages, every other one, the middle."""
    front = np.arange(groups)
    spread = np.argsort(np.argsort([int(f"{g:010b}"[::-1], 2) for g in range(groups)]))
    return [front, front[::-1].copy(), spread, np.argsort(np.argsort(np.abs(2 * front - groups + 1), kind="stable"))]


def _groups(task: Problem) -> Ints:
    """Chunks that are loaded together, (G, V): those of a stage; under DualPipe those of a pair of stages."""
    return task.chunk_PV[: task.strategy.pp // 2] if task.mirrored else task.chunk_PV


def frames(front: int, back: int, chunks: int) -> list[Frame]:
    """Every way to cut the end blocks into pieces of whole chunks; only the innermost piece shares its chunk with the run."""
    out = []
    for head, tail in product(_compositions(front), _compositions(back)):
        if len(head) + len(tail) > chunks + 1:
            continue
        front_C, back_C = np.zeros(chunks, dtype=np.int64), np.zeros(chunks, dtype=np.int64)
        front_C[: len(head)] = head
        back_C[chunks - len(tail) :] = tail
        at = np.arange(chunks)
        out.append(Frame(front_C, back_C, (at >= len(head) - 1) & (at <= chunks - len(tail))))
    return out


def _compositions(n: int) -> list[tuple[int, ...]]:
    """Ordered sums of positive integers.

    >>> _compositions(3)
    [(3,), (2, 1), (1, 2), (1, 1, 1)]
    """
    if n == 0:
        return [()]
    return [(first, *rest) for first in range(n, 0, -1) for rest in _compositions(n - first)]


def _tables(
    task: Problem, all_frames: list[Frame], groups: Ints, run: int, lo: int, late: bool, extra: int
) -> list[tuple[Ints, Floats]]:
    """For each frame: run blocks by chunk (C, U) and load (G, U) when every group has u = 0 .. `extra` more than the least."""
    end_FCY = np.stack([_end_counts(task, f, lo, lo + run) for f in all_frames])
    least_FC = np.stack([f.least_C for f in all_frames])
    open_FC = np.stack([f.open_C for f in all_frames])
    count_FCU = _fill(task, end_FCY, least_FC, open_FC, groups, lo, extra, late)
    kinds = len(task.model.types)
    full = end_FCY[:, None] + np.swapaxes(count_FCU, 1, 2)[..., None] * np.eye(kinds)[task.model.type_B[lo]]
    flat = full.reshape(-1, *full.shape[2:])
    inner = np.full(task.strategy.num_chunks + 1, task.width_B[1:-1].max(initial=0.0))
    inner[[0, -1]] = 0.0
    width_P = end_widths(task.strategy, inner)
    tied = [np.repeat([[_chunk_of(f, i, lo, lo + run, task) for i in pair] for f in all_frames], extra + 1, axis=0) for pair in task.model.tied]
    scores = score_counts(task, flat[:, task.chunk_PV], width_P[None], tied)
    load = scores.load_NP.reshape(len(all_frames), extra + 1, -1)
    load_FGU = np.swapaxes(load, 1, 2)[:, : len(groups)]
    if task.mirrored:
        load_FGU = np.maximum(load_FGU, np.swapaxes(load, 1, 2)[:, ::-1][:, : len(groups)])
    given_FGU = count_FCU[:, groups].sum(axis=2)
    room = given_FGU - given_FGU[..., :1] == np.arange(extra + 1)  # a group without an open chunk takes none
    return list(zip(count_FCU, np.where(room, load_FGU, np.inf), strict=True))


def _end_counts(task: Problem, frame: Frame, lo: int, hi: int) -> Floats:
    front = np.concatenate([[0], np.cumsum(frame.front_C)])
    back = hi + np.concatenate([[0], np.cumsum(frame.back_C)])
    before = task.count_BY[front[1:]] - task.count_BY[front[:-1]]
    return np.asarray(before + task.count_BY[back[1:]] - task.count_BY[back[:-1]])


def _chunk_of(frame: Frame, block: int, lo: int, hi: int, task: Problem) -> int:
    """Chunk of an end block; -1 for a block of the run, whose chunk the frame does not say."""
    if lo <= block < hi:
        return -1
    ends = np.cumsum(frame.front_C) if block < lo else hi + np.cumsum(frame.back_C)
    return int(np.searchsorted(ends, block, side="right"))


def _fill(
    task: Problem, end_FCY: Floats, least_FC: Ints, open_FC: npt.NDArray[np.bool_], groups: Ints, lo: int, extra: int, late: bool
) -> Ints:
    """Run blocks by chunk, (F, C, extra + 1): each next block of a group goes to its lightest open chunk."""
    seconds_Y = sum(t[:, task.modes[0]] for t in task.time_YM)
    unit = max(float(seconds_Y[task.model.type_B[lo]]), 1e-300)
    has = np.where(open_FC, least_FC, 0)
    weight = np.where(open_FC, end_FCY @ seconds_Y / unit + has, np.inf)[:, groups]
    nudge = 1e-6 * np.arange(groups.shape[1]) * (-1 if late else 1)
    now, out = has[:, groups].copy(), [has]
    for _ in range(extra):
        lightest = (weight + nudge).argmin(axis=2)[..., None]
        fits = np.isfinite(np.take_along_axis(weight, lightest, 2))
        np.put_along_axis(now, lightest, np.take_along_axis(now, lightest, 2) + fits, 2)
        np.put_along_axis(weight, lightest, np.take_along_axis(weight, lightest, 2) + 1.0, 2)
        step = has.copy()
        step[:, groups] = now
        out.append(step)
    return np.stack(out, axis=2)


def _cut(frame: Frame, count_CU: Ints, groups: Ints, units_G: Ints | None) -> tuple[int, ...]:
    assert units_G is not None
    size = frame.front_C + frame.back_C
    for g, chunks in enumerate(groups):
        size[chunks] += count_CU[chunks, units_G[g]]
    return (0, *np.cumsum(size).tolist())
