# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.cost.pipeline import makespan_bound, simulate
from placement.cost.pipeline_bound import lead_weights
from placement.cost.schedules import misfit
from placement.ir import SCHEDULES

CHUNKS = {"1f1b": (1,), "interleaved": (1, 2, 3), "zb-h1": (1,), "zb-v": (2,), "dualpipe": (1,), "dualpipev": (2,)}


@st.composite
def splits(draw: st.DrawFn) -> tuple[str, int, int, int, np.ndarray, np.ndarray]:
    """A schedule at degrees it fits, an uneven split (some chunks empty, perhaps a large head), message times."""
    schedule = draw(st.sampled_from(SCHEDULES))
    vpp = draw(st.sampled_from(CHUNKS[schedule]))
    pp = draw(st.integers(1, 6).filter(lambda p: schedule != "dualpipe" or p == 1 or p % 2 == 0))
    m = draw(st.integers(1, 18))
    seconds = st.one_of(st.just(0.0), st.floats(1e-3, 2.0), st.sampled_from([1.0, 10.0]))
    times = np.array(draw(st.lists(seconds, min_size=3 * pp * vpp, max_size=3 * pp * vpp))).reshape(3, -1)
    if draw(st.booleans()):
        times = np.outer(
            draw(st.sampled_from([[1, 1, 1], [1, 2, 0], [1, 1.2, 0.9]])), times[0]
        )  # the same kind of layers everywhere
    p2p = np.full(pp * vpp, draw(st.sampled_from([0.0, 0.1])))
    return schedule, pp, vpp, m, times, p2p


@settings(max_examples=400, deadline=None)
@given(splits())
def test_no_split_beats_the_bound(case: tuple[str, int, int, int, np.ndarray, np.ndarray]) -> None:
    """`makespan_bound` of the totals, and of the totals with the largest and the last block, never exceeds the simulation."""
    schedule, pp, vpp, m, (f, b, w), p2p = case
    step = simulate(schedule, pp, vpp, m, f, b, w, p2p).makespan_s
    block = f + b + w
    share = float((f / np.where(block > 0, block, 1.0))[block > 0].min(initial=1.0))
    lead = float(lead_weights(np.arange(pp * vpp), pp * vpp)[pp] @ block)  # every chunk is a block of a type of its own
    for largest, last, before, known in (
        (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, lead, 0.0), (block.max(), 0.0, 0.0, 0.0), (block.max(), block[-1], lead, share)
    ):  # fmt: skip
        bound = makespan_bound(schedule, pp, vpp, m, f.sum(), (b + w).sum(), largest, last, before, min_fwd_share=known)
        assert float(bound) <= step * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize(("pp", "m"), [(2, 3), (4, 8), (8, 9), (16, 64)])
def test_equal_stages_attain_the_bound_of_1f1b(pp: int, m: int) -> None:
    """With more microbatches than stages the 1F1B bound is the best there is: equal stages reach it."""
    ones = np.ones(pp)
    step = simulate("1f1b", pp, 1, m, ones, ones, ones, 0 * ones).makespan_s
    assert float(makespan_bound("1f1b", pp, 1, m, pp, 2 * pp)) == pytest.approx(step)


@pytest.mark.parametrize(
    ("schedule", "vpp", "least"), [("interleaved", 4, 0.96), ("zb-h1", 1, 0.94), ("zb-v", 2, 0.95), ("dualpipe", 1, 0.85)]
)
def test_the_bound_is_near_what_equal_stages_take(schedule: str, vpp: int, least: float) -> None:
    """At 16 stages and 64 microbatches the bound is within a few per cent of equal stages."""
    ones = np.ones(16 * vpp)
    step = simulate(schedule, 16, vpp, 64, ones, ones, ones, 0 * ones).makespan_s
    assert least * step <= float(makespan_bound(schedule, 16, vpp, 64, 16 * vpp, 32 * vpp, min_fwd_share=1 / 3)) <= step


def test_many_strategies_broadcast() -> None:
    """Arrays of strategies give what each of them gives by itself."""
    rng = np.random.default_rng(0)
    pp, m = 2 * rng.integers(1, 9, 60), rng.integers(1, 99, 60)
    f, b = rng.random((2, 60))
    for schedule in SCHEDULES:
        vpp = np.array([*CHUNKS[schedule]] * 60)[:60]
        many = makespan_bound(schedule, pp, vpp, m, f, b, 0.1 * f, 0.05 * b)
        rows = list(zip(pp, vpp, m, f, b, 0.1 * f, 0.05 * b, strict=True))
        assert many == pytest.approx([float(makespan_bound(schedule, *row)) for row in rows])
        assert not any(misfit(schedule, int(p), int(v), int(m) + 16) for p, v, m, *_ in rows)
