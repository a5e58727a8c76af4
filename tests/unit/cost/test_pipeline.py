# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from placement.cost.pipeline import held, in_flight, makespans, simulate
from placement.cost.schedules import BACKWARD, DGRAD, FORWARD, WGRAD, lanes, misfit

CASES = [
    *(("1f1b", p, 1, m) for p in (1, 2, 5) for m in (1, 3, 9)),
    *(("interleaved", p, v, m) for p in (1, 2, 4) for v in (1, 2, 3) for m in (2, 4, 7, 12)),
    *(("zb-h1", p, 1, m) for p in (1, 2, 5) for m in (1, 3, 9)),
    *(("zb-v", p, 2, m) for p in (1, 2, 5) for m in (1, 3, 9, 14)),
    *(("dualpipe", p, 1, m) for p in (1, 2, 4, 6) for m in (1, 2, 5, 8, 17)),
    *(("dualpipev", p, 2, m) for p in (1, 2, 3) for m in (1, 2, 5, 8)),
]


def even(schedule: str, pp: int, vpp: int, m: int, forward: float = 1.0, dgrad: float = 1.0, wgrad: float = 1.0) -> float:
    """Makespan of equal chunks whose stage takes the given seconds a microbatch, without messages."""
    chunks = pp * vpp
    f, b, w = (np.full(chunks, x / vpp) for x in (forward, dgrad, wgrad))
    return simulate(schedule, pp, vpp, m, f, b, w, np.zeros(chunks)).makespan_s


@pytest.mark.parametrize(("p", "m"), [(2, 2), (4, 8), (8, 16), (8, 64)])
@pytest.mark.parametrize(("f", "b", "w"), [(1.0, 1.0, 1.0), (1.0, 1.4, 0.7)])
def test_one_forward_one_backward_idles_p_minus_1_microbatches(p: int, m: int, f: float, b: float, w: float) -> None:
    """The bubble of 1F1B is (p-1)(F+B), Narayanan et al. 2021."""
    assert even("1f1b", p, 1, m, f, b, w) - m * (f + b + w) == pytest.approx((p - 1) * (f + b + w))


@pytest.mark.parametrize(("p", "v", "m"), [(2, 2, 4), (4, 2, 8), (8, 4, 16), (4, 3, 4)])
def test_interleaving_divides_the_bubble_by_the_chunks_of_a_stage(p: int, v: int, m: int) -> None:
    """The bubble of interleaved 1F1B is (p-1)(F+B)/v, Narayanan et al. 2021."""
    assert even("interleaved", p, v, m) - 3 * m == pytest.approx((p - 1) * 3 / v)


@pytest.mark.parametrize(("p", "m"), [(2, 4), (4, 8), (8, 32)])
def test_zb_h1_has_a_third_of_the_bubble(p: int, m: int) -> None:
    """The bubble of ZB-H1 is (p-1)(F+B-W), a third of that of 1F1B where F = B = W, Qi et al. 2023."""
    assert even("zb-h1", p, 1, m) - 3 * m == pytest.approx((p - 1) * 1.0)
    assert even("zb-h1", p, 1, m, 1.0, 1.5, 1.0) - 3.5 * m == pytest.approx((p - 1) * 1.5)


@pytest.mark.parametrize(("p", "m"), [(2, 4), (4, 8), (8, 32)])
def test_zb_v_stages_never_wait_once_started(p: int, m: int) -> None:
    """Where F = B = W every stage of ZB-V works without a gap from its first to its last piece, Qi et al. 2023."""
    t = simulate("zb-v", p, 2, m, np.ones(2 * p), np.ones(2 * p), np.ones(2 * p), np.zeros(2 * p))
    for stage in range(p):
        mine = t.stage == stage
        assert t.end_s[mine].max() - t.start_s[mine].min() == pytest.approx(6.0 * m)
    assert t.makespan_s == pytest.approx(6.0 * m + p - 1)  # the last stage starts p - 1 chunk forwards later


@pytest.mark.parametrize(("p", "m"), [(4, 8), (8, 16), (8, 40), (12, 24)])
def test_dualpipe_has_its_published_bubble(p: int, m: int) -> None:
    """The bubble of DualPipe is (p/2-1)(F&B + B - 3W), B the full backward, F&B a pair. DualPipe README."""
    assert even("dualpipe", p, 1, m) - m * 3 == pytest.approx((p / 2 - 1) * (3 + 2 - 3))
    assert even("dualpipe", p, 1, m, 1.0, 1.3, 0.8) - m * 3.1 <= (p / 2 - 1) * (3.1 + 2.1 - 2.4) + 1e-9


@pytest.mark.parametrize(("p", "m"), [(2, 4), (4, 8), (6, 30)])
def test_dualpipe_v_has_the_bubble_of_dualpipe_on_half_the_devices(p: int, m: int) -> None:
    """DualPipeV on p stages has the bubble of DualPipe on 2p, each chunk being half a stage, DualPipe README."""
    assert even("dualpipev", p, 2, m) - 3 * m == pytest.approx((p - 1) * 2.0 / 2)


@pytest.mark.parametrize(("schedule", "pp", "vpp", "m"), CASES)
def test_every_microbatch_passes_every_chunk_once(schedule: str, pp: int, vpp: int, m: int) -> None:
    """A schedule runs each forward, input gradient and weight gradient once, in an order that never deadlocks."""
    rng = np.random.default_rng(pp * 100 + m)
    chunks = pp * vpp
    t = simulate(schedule, pp, vpp, m, *rng.random((4, chunks)))
    for kinds in ((FORWARD,), (BACKWARD, DGRAD), (BACKWARD, WGRAD)):
        seen = np.zeros((chunks, m), dtype=int)
        some = np.isin(t.kind, kinds)
        np.add.at(seen, (t.chunk[some], t.microbatch[some]), 1)
        assert (seen == 1).all()


@pytest.mark.parametrize(("schedule", "pp", "vpp", "m"), CASES)
def test_pieces_obey_the_data_flow(schedule: str, pp: int, vpp: int, m: int) -> None:
    """No piece starts before its inputs have crossed the boundary, and no stage runs two pieces at once."""
    rng = np.random.default_rng(pp * 100 + m)
    chunks = pp * vpp
    f, b, w, p2p = rng.random((4, chunks))
    t = simulate(schedule, pp, vpp, m, f, b, w, p2p)
    begin, end = {}, {}
    for kind, chunk, k, start, stop in zip(t.kind, t.chunk, t.microbatch, t.start_s, t.end_s, strict=True):
        role = DGRAD if kind == BACKWARD else kind
        begin[role, chunk, k], end[role, chunk, k] = start, stop
    stage = {(c, k): s for c, k, s in zip(t.chunk, t.microbatch, t.stage, strict=True)}
    for (kind, c, k), start in begin.items():
        if kind == FORWARD and c > 0:
            assert start >= end[FORWARD, c - 1, k] + p2p[c - 1] * (stage[c - 1, k] != stage[c, k]) - 1e-9
        if kind == DGRAD and c < chunks - 1:
            assert start >= end[DGRAD, c + 1, k] + p2p[c] * (stage[c + 1, k] != stage[c, k]) - 1e-9
        if kind != FORWARD:
            assert start >= end[FORWARD if kind == DGRAD else DGRAD, c, k] - 1e-9
    for p in range(pp):
        order = np.argsort(t.start_s[t.stage == p], kind="stable")
        assert (t.start_s[t.stage == p][order][1:] >= t.end_s[t.stage == p][order][:-1] - 1e-9).all()
    assert t.busy_s_P.sum() == pytest.approx(m * (f + b + w).sum())


@pytest.mark.parametrize(("schedule", "pp", "vpp", "m"), CASES)
def test_many_tables_at_once_give_the_same_makespans(schedule: str, pp: int, vpp: int, m: int) -> None:
    """`makespans` of a batch equals `simulate` of each member."""
    rng = np.random.default_rng(pp + m)
    tables = rng.random((4, 3, pp * vpp))
    one_by_one = [simulate(schedule, pp, vpp, m, *tables[:, i]).makespan_s for i in range(3)]
    assert makespans(schedule, pp, vpp, m, *tables) == pytest.approx(one_by_one)


def test_by_hand_two_unequal_stages_with_messages() -> None:
    """1F1B of two stages and two microbatches, checked on paper: F 1 and 2, B 3 and 4, message 0.5."""
    t = simulate("1f1b", 2, 1, 2, np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([1.0, 3.0]), np.array([0.5]))
    # stage 0: F0 0-1, F1 1-2, B0 8-11, B1 14-17; stage 1: F0 1.5-3.5, B0 3.5-7.5, F1 7.5-9.5, B1 9.5-13.5
    assert t.makespan_s == pytest.approx(17.0)
    assert t.busy_s_P.tolist() == pytest.approx([8.0, 12.0])


def test_messages_inside_a_stage_take_no_time() -> None:
    """The turn of a V-shaped schedule is no message."""
    p2p = np.array([0.0, 5.0, 0.0])
    ones = np.ones(4)
    assert (
        simulate("zb-v", 2, 2, 4, ones, ones, ones, p2p).makespan_s
        == simulate("zb-v", 2, 2, 4, ones, ones, ones, 0 * p2p).makespan_s
    )


@pytest.mark.parametrize(("p", "m"), [(4, 8), (6, 12), (6, 3)])
def test_published_memory_of_the_schedules(p: int, m: int) -> None:
    """Microbatches held: 1F1B min(m, p-s); ZB-H1 at most p; ZB-V p whole stages; DualPipe p + 1 and DualPipeV 2p + 1 chunks."""
    assert in_flight("1f1b", p, 1, m)[:, 0].tolist() == [min(m, p - s) for s in range(p)]
    assert in_flight("zb-h1", p, 1, m).max() == min(m, p)
    if m >= 2 * p:
        assert in_flight("zb-v", p, 2, m).sum(axis=1).tolist() == [2 * p] * p
        assert in_flight("dualpipe", p, 1, m).sum(axis=1).tolist() == [p + 1] * p
        assert in_flight("dualpipev", p, 2, m).sum(axis=1).tolist() == [2 * p + 1] * p


@pytest.mark.parametrize(("p", "v", "m"), [(4, 2, 8), (8, 2, 16), (4, 4, 12)])
def test_interleaving_holds_more_on_the_first_stage(p: int, v: int, m: int) -> None:
    """Stage 0 of the interleaved schedule holds p(1 + (p-1)/(pv)) stages' worth, Megatron `theoretical_memory_usage.py`."""
    assert in_flight("interleaved", p, v, m)[0].sum() / v == pytest.approx(p * (1 + (p - 1) / (p * v)), abs=1 / v)


@pytest.mark.parametrize("schedule", ["1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipev"])
def test_what_is_held_settles_for_long_batches(schedule: str) -> None:
    """What is held of a batch of 80 is what is held of a batch of 200: `held` may shorten it."""
    pp, vpp = 4, {"interleaved": 3, "zb-v": 2, "dualpipev": 2}.get(schedule, 1)
    short, long = held(schedule, pp, vpp, 32), held(schedule, pp, vpp, 200)
    probe = np.random.default_rng(0).random((short.shape[2], 50))
    assert (short @ probe).max(axis=1) == pytest.approx((long @ probe).max(axis=1))


@pytest.mark.parametrize(
    ("schedule", "pp", "vpp", "m"),
    [
        ("1f1b", 2, 2, 4),
        ("dualpipe", 3, 1, 8),
        ("zb-v", 4, 1, 8),
        ("gpipe", 4, 1, 8),
        ("1f1b", 0, 1, 8),
        ("dualpipev", 2, 3, 8),
    ],
)
def test_degrees_that_do_not_fit_are_refused(schedule: str, pp: int, vpp: int, m: int) -> None:
    """A schedule at degrees it cannot run with says why, and `lanes` raises that."""
    assert misfit(schedule, pp, vpp, m)
    with pytest.raises(ValueError, match=r"."):
        lanes(schedule, pp, vpp, m)


def test_wrong_number_of_chunks_is_refused() -> None:
    """Times of another number of chunks raise ValueError."""
    with pytest.raises(ValueError, match="4 chunks"):
        simulate("1f1b", 4, 1, 4, np.ones(3), np.ones(4), np.ones(4), np.ones(4))


def test_the_real_size_runs() -> None:
    """16 stages of 4 chunks and 256 microbatches take the published time."""
    t = simulate("interleaved", 16, 4, 256, *np.full((3, 64), 0.25), np.zeros(64))
    assert t.makespan_s == pytest.approx(256 * 3 + 15 * 3 / 4)
