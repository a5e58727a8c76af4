# SPDX-License-Identifier: Apache-2.0
# S strategy
"""Lower bound of a pipelined step for any split of the layers, in closed form, for millions of strategies at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def makespan_bound(
    schedule: str, pp: Any, vpp: Any, num_microbatches: Any, total_fwd_s: Any, total_bwd_s: Any,
    max_block_s: Any = 0.0, last_block_s: Any = 0.0, lead_s: Any = 0.0, lag_s: Any = 0.0, *,
    min_fwd_share: float = 0.0,
) -> Floats:  # fmt: skip
    """Seconds that no split of the totals over the chunks can beat, any p2p time >= 0; all arguments but `schedule` broadcast.

    `total_fwd_s`, `total_bwd_s` (input and weight gradient): one microbatch through the whole model; either may be less than
    true, never more. `max_block_s`: forward + backward that some stage (DualPipe: some chunk) surely has: a block that is not
    cut, or ceil(n / pp) of n equal blocks. `last_block_s`: of the block that the last chunk holds at least (the head).
    `lead_s`: mean over stages s of the time, forward + backward, of the first s blocks of the model (`lead_weights`); only
    interleaving needs it. `lag_s`: of a message over one boundary between stages, at least; of interleaved stages over two of
    those that close the ring. `min_fwd_share`: no block spends a smaller share of its time in the forward pass (0 is always
    true; a larger one only helps zb-h1).

    Proof. Write p, m, W = F + B for the totals, L_s for the load of stage s, P_s and Q_s for the loads before and after it, u =
    W/p.

    *Any schedule*: some stage has L >= u and works m times, T >= m u; a block of b seconds makes T >= m b (DualPipe: two stages
    share it, T >= ceil(m/2) b). One microbatch passes all forward chunks: T >= F, and all backward chunks: T >= W where
    the backward pass is one operation.

    *1F1B, m > p*. For each s the order contains this path: microbatch 0 forward through all stages and back to s; on stage s
    from B(0), F(p-s) to F(m-1); forward with m-1 to the end; back through all stages. Its length gives
    T' := T - W >= (m-p+s) L_s + Q_s   (1).  Let R_s = T' - Q_s. (1) says R_s >= (m-p+s) L_s, and R_{s-1} = R_s - L_s, so
    R_{s-1} >= R_s (m-p+s-1)/(m-p+s) downwards from R_{p-1} = T', hence each Q <= its value at L = T'/(m-1), W <= p T'/(m-1):
    T >= (m+p-1) u, which equal stages attain. A block b on stage s: half of (1) plus half of T >= m L_s + P_s is
    T' >= (m - (p+1)/2 + s/2) L_s, so T >= W + (m-(p+1)/2) b; on the last stage (1) is T >= W + (m-1) b.

    *1F1B, m <= p*. (1) holds for s > p-m, which gives the last m-1 stages no more than T'. All m forwards, or all m backwards,
    of any stage lie on a path that also has one whole microbatch: T' >= (m-1) max(F_s, B_s). So the other p-m+1 stages have at
    most 2T'/(m-1) each: T' >= (m-1) W/(2p-m+1), and T' >= (m-1) max(F, B)/p.

    *Interleaved, p divides m*. For round j and stage s: forward to chunk jp+s with microbatch 0, all of stage s from there to
    the last backward of that chunk, back to the start. The path leaves out the p first and last microbatches of rounds below j:
    T >= m L_s + sum_{c<jp+s} X_c - p sum_{i<j} X_{ip+s}, X = F + B of a chunk. The mean over s and j is
    T >= m u + sum_s (p-1-s) L_s/(p v), and since every L_s <= T/m, sum_s (p-1-s) L_s >= (p-1) W - (T/m) p (p-1)/2, so
    T >= u (m + (p-1)/v) / (1 + (p-1)/(2 v m)). *For any m*: stage s starts with microbatch 0 of chunk s and ends with the last
    of it, so T >= m L_s + (time of the chunks before s). No chunk is empty, so those hold the first s blocks at least; the mean
    over s is T >= m u + lead. The last chunk works m times after microbatch 0 has come: T >= W + (m-1) last.

    *A slow boundary.* The paths of (1) go through all boundaries forward and back, so T' may be read as T - W - 2 lag, and
    likewise T >= W + (m-1) last + 2 lag. The first stage of 1F1B takes in microbatch p when it is done with microbatch 0, and
    so on: T >= ceil(m/p) (W + 2 lag). With interleaving a message crosses the slow boundaries 2v - 1 times on its way through
    all chunks and 2j times on its way to chunk jp+s, both ways 2 (v - 1) lag in the mean over j.

    *ZB-H1*. T >= m L_s + (forward time before s). With f the smallest forward share, that is >= f P_s and the argument above
    (v = 1) gives T >= u (m + f(p-1)) / (1 + f(p-1)/(2m)). With nothing known of f: sum_s (p-1-s) F_s is least when F fills the
    last stages up to T/m each, F^2 m/(2T) - F/2 at least, so T^2 - (m u - F/(2p)) T - F^2 m/(2p) >= 0.
    """
    given = (pp, vpp, num_microbatches, total_fwd_s, total_bwd_s, max_block_s, last_block_s, lead_s, lag_s)
    arrays = [np.asarray(x, dtype=float) for x in given]
    p, v, m, fwd, bwd, block, last, lead, lag = arrays
    total = fwd + bwd
    unit = total / p
    if schedule == "1f1b":
        return _one_forward_one_backward(p, m, fwd, bwd, block, last, lag)
    if schedule == "interleaved":
        chunked = _interleaved(p, v, m, total, block, last, lead, lag)
        return (
            np.where(v == 1, _one_forward_one_backward(p, m, fwd, bwd, block, last, lag), chunked)
            if np.any(v == 1)
            else chunked
        )
    if schedule == "zb-h1":
        return _zb_h1(p, m, fwd, total, block, last, min_fwd_share)
    uses = np.ceil(m / 2) if schedule == "dualpipe" else m
    both = np.maximum(uses * np.maximum(block, last), m * unit)
    return np.asarray(np.maximum(np.where(p == 1, m * total, both), fwd))


def _one_forward_one_backward(
    p: Floats, m: Floats, fwd: Floats, bwd: Floats, block: Floats, last: Floats, lag: Floats
) -> Floats:  # fmt: skip
    total = fwd + bwd
    least = np.maximum(np.maximum(fwd, bwd) / p, total / np.maximum(2 * p - m + 1, 1))
    split = total + (m - 1) * np.where(m > p, total / p, least)
    spread = np.where(m >= p, total + (m - (p + 1) / 2) * block, m * block)
    waves = np.ceil(m / p) * (total + 2 * lag)
    return np.maximum(np.maximum(split + 2 * lag, waves), np.maximum(spread, total + (m - 1) * last + 2 * lag))


def lead_weights(type_B: npt.NDArray[np.integer], types: int) -> Floats:
    """What a block of each type counts in `lead_s` of p stages, row p: block b lies before the p - 1 - b later ones. (B + 1, Y)

    >>> lead_weights(np.array([0, 1, 1]), 2).tolist()[3]
    [0.6666666666666666, 0.3333333333333333]
    """
    depth = np.arange(len(type_B) + 1)[:, None]
    after = np.maximum(depth - 1 - np.arange(len(type_B)), 0) / np.maximum(depth, 1)
    return np.asarray(after @ np.eye(types)[np.asarray(type_B)])


def _interleaved(
    p: Floats, v: Floats, m: Floats, total: Floats, block: Floats, last: Floats, lead: Floats, lag: Floats
) -> Floats:  # fmt: skip
    filled = ((m + (p - 1) / v) * total / p + 2 * (v - 1) * lag) / (1 + (p - 1) / (2 * v * m))
    split = np.maximum(np.where(m % p == 0, filled, 0.0), m * total / p + lead)
    return np.maximum(np.maximum(split, m * block), total + (m - 1) * last + 2 * (2 * v - 1) * lag)


def _zb_h1(p: Floats, m: Floats, fwd: Floats, total: Floats, block: Floats, last: Floats, share: float) -> Floats:
    shared = (m + share * (p - 1)) / (1 + share * (p - 1) / (2 * m)) * total / p
    half = (m * total - fwd / 2) / (2 * p)
    alone = half + np.sqrt(half * half + fwd * fwd * m / (2 * p))
    return np.maximum(np.maximum(shared, alone), np.maximum(m * block, fwd + (m - 1) * last))
