# SPDX-License-Identifier: Apache-2.0
"""Pipeline schedules from their definitions, and a plain simulation: every stage runs its list in order, each item as soon as
its inputs are there. Also how many microbatches a stage holds.

An item is a list of pieces (kind, chunk, microbatch) that run as one: kinds F forward, B whole backward, I input gradient,
W weight gradient. Sources: Narayanan et al. 2021 (1F1B, interleaved); Qi et al. 2023, arXiv 2401.10241 (ZB-H1); torch
`ScheduleZBVZeroBubble`; `deepseek-ai/DualPipe`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from placement.verify.case import Degrees

Piece = tuple[str, int, int]
Item = list[Piece]


def orders(d: Degrees) -> list[list[Item]]:
    """What every stage runs, in order."""
    m, pp = d.num_microbatches, d.pp
    if d.schedule == "interleaved":
        return [_interleaved(d, p) for p in range(pp)]
    if d.schedule == "zb-h1":
        return [_zero_bubble(d, p) for p in range(pp)]
    if d.schedule == "zb-v":
        return [_trim(_zero_bubble_v(pp, p, max(m, 2 * pp - 1)), m) for p in range(pp)]
    if d.schedule == "dualpipev":
        return [_trim(_dual(pp, p, max(m, 2 * pp), (p, 2 * pp - 1 - p)), m) for p in range(pp)]
    if d.schedule == "dualpipe" and pp > 1:
        return [_dualpipe(pp, p, m) for p in range(pp)]
    return [_one_f_one_b(pp, p, m) for p in range(pp)]


def _one_f_one_b(pp: int, p: int, m: int) -> list[Item]:
    ahead = min(m, pp - 1 - p)
    out: list[Item] = [[("F", p, k)] for k in range(ahead)]
    for k in range(m):
        if k + ahead < m:
            out.append([("F", p, k + ahead)])
        out.append([("B", p, k)])
    return out


def _zero_bubble(d: Degrees, p: int) -> list[Item]:
    """1F1B with weight gradients `p` microbatches late."""
    out: list[Item] = []
    for kind, _, k in (piece for item in _one_f_one_b(d.pp, p, d.num_microbatches) for piece in item):
        out.append([("I" if kind == "B" else kind, p, k)])
        if kind == "B" and k >= p:
            out.append([("W", p, k - p)])
    return out + [[("W", p, k)] for k in range(max(0, d.num_microbatches - p), d.num_microbatches)]


def _interleaved(d: Degrees, p: int) -> list[Item]:
    """Groups of microbatches go through the chunks of a stage in turn; Megatron's warm-up."""
    m, pp, vpp = d.num_microbatches, d.pp, d.vpp
    group = m
    for size in range(pp, m):
        if m % size == 0 or m % size >= pp:
            group = size
            break
    visits = [(v, k) for start in range(0, m, group) for v in range(vpp) for k in range(start, min(start + group, m))]
    forward: list[Item] = [[("F", v * pp + p, k)] for v, k in visits]
    backward: list[Item] = [[("B", (vpp - 1 - v) * pp + p, k)] for v, k in visits]
    ahead = min(len(visits), 2 * (pp - 1 - p) + (vpp - 1) * group)
    out = forward[:ahead]
    for i, item in enumerate(backward):
        if ahead + i < len(forward):
            out.append(forward[ahead + i])
        out.append(item)
    return out


class _Hand:
    """Deals the next microbatch of each kind for the two chunks of a stage; put-off weight gradients queue up."""

    def __init__(self, chunks: tuple[int, int]) -> None:
        self.chunks, self.dealt, self.queue, self.out = (
            chunks,
            dict[tuple[str, int], int](),
            deque[tuple[int, int]](),
            list[Item](),
        )

    def piece(self, kind: str, side: int, written: str | None = None) -> Piece:
        k = self.dealt.get((kind, side), 0)
        self.dealt[kind, side] = k + 1
        return (written or kind, self.chunks[side], k)

    def forward(self, side: int) -> None:
        self.out.append([self.piece("F", side)])

    def backward(self, side: int) -> None:
        self.out.append([self.piece("B", side)])

    def inputs_only(self, side: int) -> None:
        piece = self.piece("B", side, "I")
        self.queue.append(piece[1:])
        self.out.append([piece])

    def both(self, forward: int, backward: int) -> None:
        self.out.append([self.piece("F", forward), self.piece("B", backward)])

    def weight(self, wanted: Callable[[int], bool] = lambda _: True) -> None:
        found = next(entry for entry in self.queue if wanted(entry[0]))
        self.queue.remove(found)
        self.out.append([("W", *found)])


def _zero_bubble_v(pp: int, p: int, m: int) -> list[Item]:
    hand = _Hand((p, 2 * pp - 1 - p))
    top, bottom = hand.chunks
    for _ in range(2 * (pp - p) - 1):
        hand.forward(0)
    for _ in range(p):
        hand.forward(1)
        hand.forward(0)
    for _ in range(pp - p):
        hand.forward(1)
        hand.inputs_only(1)
        hand.weight()
    while hand.dealt["F", 1] < hand.dealt["F", 0] or hand.dealt["F", 0] < m:
        if hand.dealt["F", 0] < m:
            hand.forward(0)
        hand.inputs_only(0)
        hand.weight()
        hand.forward(1)
        hand.inputs_only(1)
        hand.weight()
    for _ in range(p):
        hand.inputs_only(0)
        hand.inputs_only(1)
    for _ in range(pp - p):
        hand.inputs_only(0)
        hand.weight(lambda chunk: chunk == top)
    for chunk in (bottom, top):
        while any(c == chunk for c, _ in hand.queue):
            hand.weight(lambda c, chunk=chunk: c == chunk)  # type: ignore[misc]
    return hand.out


def _dual(depth: int, h: int, m: int, chunks: tuple[int, int]) -> list[Item]:
    """The eight steps of DualPipe at distance `h` from the entrance of `depth` stages."""
    hand, left = _Hand(chunks), depth - h - 1
    for _ in range(2 * left):
        hand.forward(0)
    for _ in range(h + 1):
        hand.forward(0)
        hand.forward(1)
    for _ in range(left):
        hand.inputs_only(1)
        hand.weight()
        hand.forward(1)
    for i in range(m - 2 * depth + h + 1):
        if i == 0 and left == 0:
            hand.forward(0)
            hand.backward(1)
        else:
            hand.both(0, 1)
        hand.both(1, 0)
    for _ in range(left):
        hand.backward(1)
        hand.both(1, 0)
    put_off, half = False, (h + 1) // 2
    for i in range(h + 1):
        put_off = put_off or (i == half and h % 2 == 1)
        (hand.inputs_only if put_off else hand.backward)(1)
        put_off = put_off or (i == half and h % 2 == 0)
        (hand.inputs_only if put_off else hand.backward)(0)
    for _ in range(left):
        hand.weight()
        hand.inputs_only(0)
    while hand.queue:
        hand.weight()
    return hand.out


def _dualpipe(pp: int, p: int, m: int) -> list[Item]:
    """Two directions: the first half of the batch enters at stage 0, the second at the last stage."""
    first = (m + 1) // 2
    near_is_second = p >= pp // 2
    sides = (1, 0) if near_is_second else (0, 1)  # direction that the hand's side 0 and 1 stand for
    out = []
    for item in _dual(pp // 2, min(p, pp - 1 - p), max(first, pp), sides):
        kept = [(kind, p if way == 0 else pp - 1 - p, k + way * first) for kind, way, k in item if k < (first, m - first)[way]]
        if kept:
            out.append(kept)
    return out


def _trim(items: list[Item], m: int) -> list[Item]:
    kept = [[piece for piece in item if piece[2] < m] for item in items]
    return [item for item in kept if item]


def makespan_s(
    d: Degrees, forward: list[float], inputs: list[float], weights: list[float], message_s: Sequence[float]
) -> float:
    """End of the last item. Seconds by chunk; from chunk c to the next, or back, a message takes `message_s[c]`, inside a stage
    nothing.
    """
    seconds = {"F": forward, "I": inputs, "W": weights, "B": [a + b for a, b in zip(inputs, weights, strict=True)]}
    lists = orders(d)
    done: dict[tuple[bool, int, int], tuple[float, int]] = {}  # (forward?, chunk, microbatch) -> end, stage
    clock, at, last = [0.0] * d.pp, [0] * d.pp, d.pp * (d.vpp if d.schedule != "dualpipe" else 1) - 1
    ready, waiting = deque(range(d.pp)), dict[tuple[bool, int, int], list[int]]()
    while ready:
        p = ready.popleft()
        while at[p] < len(lists[p]):
            item = lists[p][at[p]]
            start, missing = _start(item, done, clock[p], p, last, message_s)
            if missing is not None:
                waiting.setdefault(missing, []).append(p)
                break
            clock[p] = start + sum(seconds[kind][chunk] for kind, chunk, _ in item)
            for kind, chunk, k in item:
                if kind != "W":
                    done[kind == "F", chunk, k] = (clock[p], p)
                    ready.extend(waiting.pop((kind == "F", chunk, k), ()))
            at[p] += 1
    if any(i < len(items) for i, items in zip(at, lists, strict=True)):
        raise ValueError(f"schedule {d.schedule} deadlocks at pp {d.pp}, vpp {d.vpp}, {d.num_microbatches} microbatches")
    return max(clock)


def _start(
    item: Item,
    done: dict[tuple[bool, int, int], tuple[float, int]],
    clock: float,
    stage: int,
    last: int,
    message_s: Sequence[float],
) -> tuple[float, tuple[bool, int, int] | None]:
    """When an item can start, or the result that it waits for."""
    start = clock
    for kind, chunk, k in item:
        before = (True, chunk - 1, k) if kind == "F" else (False, chunk + 1, k)
        if kind == "W" or not 0 <= before[1] <= last:
            continue
        if before not in done:
            return 0.0, before
        end, other = done[before]
        start = max(start, end + (message_s[min(chunk, before[1])] if other != stage else 0.0))
    return start, None


def held(d: Degrees) -> list[list[dict[int, int]]]:
    """For each stage, every state in which it has just run a forward: microbatches it keeps, by chunk.

    A microbatch is kept from its forward to the end of its weight gradient.
    """
    out = []
    for items in orders(d):
        late = {piece[1:] for item in items for piece in item if piece[0] == "W"}
        now: dict[int, int] = {}
        states = dict[tuple[tuple[int, int], ...], None]()
        for item in items:
            for kind, chunk, k in item:
                if kind == "F":
                    now[chunk] = now.get(chunk, 0) + 1
                    states[tuple(sorted(now.items()))] = None
                elif kind == "W" or (kind == "B" and (chunk, k) not in late):
                    now[chunk] -= 1
        out.append([dict(state) for state in states])
    return out
