# SPDX-License-Identifier: Apache-2.0
"""What must hold of the cost model whatever the numbers: monotone in speed and bandwidth, parts that sum, no cliffs."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from placement.cost.hardware import Hardware, contiguous_spans
from placement.cost.layers import layer_cost
from placement.cost.shards import Shards, shards_of
from placement.cost.step import dp_s, dp_windows, optimizer_s, overhead_s, step_cost
from placement.ir import PARTS, Job, Software, Strategy, no_spans
from placement.passes.layout import usual_stages
from placement.spec.catalog import chip, efficiency
from placement.spec.model import lower_short

EFF = efficiency()
DENSE = lower_short({"layers": 8, "hidden": 1024, "heads": 16, "kv_heads": 4, "ffn": 4096, "vocab": 32000})
ROUTED = lower_short(
    {
        "layers": 8,
        "hidden": 1024,
        "heads": 16,
        "ffn": 4096,
        "vocab": 32000,
        "experts": 32,
        "topk": 4,
        "moe_ffn": 512,
        "dense_first_layers": 1,
    }
)
CHIPS = ("A100-80GB", "H100", "B200", "GB300")


def hw(name="H100", nic=50e9, domain=8, **faster) -> Hardware:
    return Hardware(dataclasses.replace(chip(name), **faster), nic, domain, 4, np.array([1e-6, 5e-6]))


@st.composite
def strategies(draw, routed: bool) -> Strategy:
    tp, cp, dp, pp = (draw(st.sampled_from(c)) for c in ((1, 2, 4, 8), (1, 2), (1, 2, 8, 64), (1, 2, 4)))
    ep = draw(st.sampled_from([e for e in (1, 2, 8, 16) if routed and tp * cp * dp % e == 0] or [1]))
    m = draw(st.sampled_from((4, 8, 16)))
    recompute, sharding = (
        draw(st.sampled_from(("none", "selective", "full"))),
        draw(st.sampled_from(("none", "zero1", "zero2", "fsdp"))),
    )
    return Strategy(tp, cp, ep, 1, dp, pp, 1, 1, m, "1f1b", recompute, sharding)


def cost(model, strategy, hardware, precision="bf16", year=2026.6):
    job = Job(
        2048, strategy.dp * strategy.micro_batch * strategy.num_microbatches, precision, software=Software("megatron", year)
    )
    spans = contiguous_spans(hardware, strategy)
    layer = layer_cost(model, job, hardware, EFF, shards_of(strategy), spans)
    return step_cost(model, job, hardware, EFF, strategy, usual_stages(model, strategy, job.seq_len), spans, layer)


cases = st.one_of(st.tuples(st.just(DENSE), strategies(routed=False)), st.tuples(st.just(ROUTED), strategies(routed=True)))


@given(cases, st.sampled_from(CHIPS), st.sampled_from(("bf16", "fp8", "mxfp8", "nvfp4")))
def test_parts_sum_to_the_step_and_none_is_negative(case, name, precision):
    """Every part of the breakdown is there, at least zero, and together they are the step, in every precision on every chip."""
    found = cost(*case, hw(name), precision)
    assert set(found.parts_s) == set(PARTS)
    assert min(found.parts_s.values()) >= 0
    assert np.isclose(sum(found.parts_s.values()), found.step_s)
    assert 0 < found.mfu < 6  # of the bf16 peak: four-bit floats pass it


@given(cases, st.floats(1.0, 8.0))
def test_a_faster_network_never_slows_a_step(case, factor):
    """NIC and NVLink bandwidth: more is never worse."""
    slow = cost(*case, hw(nic=25e9))
    assert cost(*case, hw(nic=25e9 * factor)).step_s <= slow.step_s * (1 + 1e-9)
    wide = cost(*case, hw(nic=25e9, nvlink_Bps=450e9 * factor))
    assert wide.step_s <= slow.step_s * (1 + 1e-9)


@given(cases, st.floats(1.0, 8.0))
def test_a_faster_chip_never_slows_a_step(case, factor):
    """FLOP/s (with the power to feed them) and HBM bandwidth: more is never worse."""
    slow = cost(*case, hw())
    peak = {k: v * factor for k, v in chip("H100").peak_flops.items()}
    assert cost(*case, hw(peak_flops=peak, power_w=700.0 * factor)).parts_s["compute"] <= slow.parts_s["compute"] * (1 + 1e-9)
    assert cost(*case, hw(hbm_Bps=3.35e12 * factor)).parts_s["compute"] <= slow.parts_s["compute"] * (1 + 1e-9)


@given(strategies(routed=True))
def test_experts_over_more_domains_cost_no_less(strategy):
    """The same expert group on smaller NVLink domains never communicates faster."""
    wide, narrow = cost(ROUTED, strategy, hw(domain=64)), cost(ROUTED, strategy, hw(domain=8))
    assert wide.parts_s["ep"] <= narrow.parts_s["ep"] * (1 + 1e-9)


@given(cases)
def test_more_replicas_never_slow_the_compute_of_one(case):
    """Twice the data-parallel replicas with twice the batch: each GPU computes as long as before."""
    model, strategy = case
    twice = dataclasses.replace(strategy, dp=2 * strategy.dp)
    assert np.isclose(cost(model, twice, hw()).parts_s["compute"], cost(model, strategy, hw()).parts_s["compute"])


@given(st.integers(0, 16), st.integers(1, 64), st.floats(1e6, 1e11))
def test_no_cliff_where_the_world_or_the_batch_leaves_the_fit(doublings, m, params):
    """Twice the GPUs never changes fixed overheads, or what shows of gradient traffic, by more than a factor."""
    job, one = Job(4096, 64), hw()

    def both(world):
        spans = contiguous_spans(one, Strategy(1, 1, 1, 1, world, 1, 1, 1, m, "1f1b", "none", "zero1"))
        shown = dp_s(
            job,
            one,
            EFF,
            dense_params=params,
            expert_params=0.0,
            dp_cp=world,
            edp=1,
            sharding="zero1",
            spans=spans,
            busy_s=1.0,
        )
        return float(shown[0]) + 0.05 + float(overhead_s(job, one, EFF, world_size=world, num_microbatches=m, busy_s=1.0))

    here, there = both(8 * 2**doublings), both(16 * 2**doublings)
    assert here * 0.9 <= there <= here * 2.6


@given(st.sampled_from(("none", "zero1", "zero2", "fsdp")), st.integers(1, 8))
def test_scalars_and_arrays_give_the_same_numbers(sharding, m):
    """The search asks for many strategies at once, the plan for one: the same function, the same number."""
    job, one = Job(4096, 64), hw()
    spans = contiguous_spans(one, Strategy(2, 1, 1, 1, 16, 1, 1, 1, m, "1f1b", "none", sharding))
    args = {"dense_params": 1e9, "expert_params": 0.0, "dp_cp": 16, "edp": 32, "busy_s": 0.2, "num_microbatches": m}
    alone = dp_s(job, one, EFF, sharding=sharding, spans=spans, **args)
    rows = {k: np.full(3, v) for k, v in args.items()}
    codes = np.full(3, ("none", "zero1", "zero2", "fsdp").index(sharding))
    wide = type(spans)(*(np.repeat(a[None], 3, 0) for a in (spans.members, spans.ring_spB, spans.a2a_spB)))
    assert np.allclose(dp_s(job, one, EFF, sharding=codes, spans=wide, **rows), alone)


def test_sharding_the_states_divides_the_optimizer():
    """Ten replicas that share the states update a tenth each."""
    args = {"dense_params": 1e9, "expert_params": 0.0, "shard_expert": 1}
    whole, tenth = (float(optimizer_s(Job(1, 1), hw(), EFF, shard_dense=n, **args)) for n in (1, 10))
    assert np.isclose(whole, 10 * tenth)


@given(st.integers(1, 64))
def test_layer_cost_does_not_depend_on_its_neighbours(num):
    """A shard priced among many costs what it costs alone."""
    rng = np.random.default_rng(num)
    many = Shards(*(rng.choice([1, 2, 4], num) for _ in range(7)))
    last = Shards(*(getattr(many, f"{a}_K")[-1:] for a in ("tp", "cp", "ep", "etp", "gtp", "egtp", "micro_batch")))
    job = Job(2048, 64, "mxfp8")
    together = layer_cost(ROUTED, job, hw("GB300"), EFF, many, no_spans(2, num))
    alone = layer_cost(ROUTED, job, hw("GB300"), EFF, last, no_spans(2, 1))
    for name in ("total_KYD", "recompute_KYC", "act_KYC", "dense_KY", "expert_KY", "sent_KYA"):
        assert np.allclose(getattr(together, name)[-1], getattr(alone, name)[0]), name


@given(st.integers(1, 8), st.sampled_from((1, 2, 8)), st.sampled_from((1, 4)))
def test_gradients_never_hide_behind_more_compute_than_a_step_has(m, pp, vpp):
    """Traffic longer than ten steps shows all but one of them, however few microbatches or many chunks there are."""
    job, one, busy = Job(4096, 64), hw(), 0.1
    spans = contiguous_spans(one, Strategy(1, 1, 1, 1, 64, 1, 1, 1, m, "1f1b", "none", "zero1"))
    args = {"dense_params": 1e12, "expert_params": 0.0, "dp_cp": 64, "edp": 1, "sharding": "zero1", "spans": spans}
    alone = float(dp_s(job, one, EFF, **args, busy_s=1e-12)[0])
    shown = float(dp_s(job, one, EFF, **args, busy_s=busy, windows=dp_windows(pp, vpp), num_microbatches=m)[0])
    assert alone > 10 * m * busy
    assert shown >= alone - m * busy * (1 + 1e-3)


@given(st.floats(1.0, 30.0), st.sampled_from(("H100", "GB300", "A100-80GB")))
def test_watts_never_lift_a_matmul_beyond_its_peak(factor, name):
    """A part with far more power for each FLOP/s (H20 has four times an H100's) stays below its peak."""
    watts = chip(name).power_w * factor
    found = cost(DENSE, Strategy(1, 1, 1, 1, 8, 1, 1, 1, 4, "1f1b", "none", "zero1"), hw(name, power_w=watts))
    assert 0 < found.mfu < 1


def test_a_wide_expert_costs_what_a_dense_layer_does():
    """One expert a GPU with thousands of rows: matmuls within a tenth of the dense ones of the same FLOPs."""
    from placement.cost.context import context
    from placement.cost.count import GROUPED, MATMUL, Work
    from placement.cost.price import flop_rate

    c, one = context(Job(4096, 64), hw()), np.ones(2)
    work = Work(
        cell_R=np.zeros(2, int), kind_R=np.array([GROUPED, MATMUL]), flop_R=one, byte_RD=np.zeros((2, 3)),
        cast_RD=np.zeros((2, 3)), span_R=one, head_R=one, thin_R=one / 14336, few_R=one / 32768, ragged_R=0 * one,
        cheap_R=one > 1,
    )  # fmt: skip
    wide, dense = flop_rate(work, c, EFF)
    assert 0.9 < wide / dense <= 1.0
