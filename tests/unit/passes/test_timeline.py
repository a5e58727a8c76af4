# SPDX-License-Identifier: Apache-2.0
"""A simulated step: every piece of work once, on lanes that do not overlap, ending when the plan says."""

import gzip
import json
from itertools import pairwise

import numpy as np
import pytest

from placement.ir import Job, Strategy
from placement.passes.place import place
from placement.passes.problem import priced, problem, realise, relax
from placement.passes.timeline import BETWEEN, COMPUTE, DATA, EXPERT, HOST, LANES, NAMES, REDUCE, events_of
from placement.report.simulation import facts, screen
from placement.report.trace import trace_text, write_trace
from placement.spec import load_cluster, load_model
from placement.spec.catalog import efficiency

CASES = {
    "1f1b": {"vpp": 1}, "interleaved": {"vpp": 2}, "zb-h1": {"vpp": 1}, "zb-v": {"vpp": 2},
    "dualpipe": {"vpp": 1}, "dualpipev": {"vpp": 2},
}  # fmt: skip


def placed(schedule: str, model: str = "llama3-70b", **degrees):
    cluster, (graph, _) = load_cluster("gb200-su"), load_model(model)
    given = {
        "tp": 2,
        "cp": 1,
        "ep": 1,
        "etp": 1,
        "dp": 8,
        "pp": 4,
        "vpp": 1,
        "micro_batch": 1,
        "num_microbatches": 16,
    } | degrees
    strategy = Strategy(**given, schedule=schedule, recompute="full", sharding="zero1")
    task = problem(cluster, graph, Job(4096, strategy.dp * strategy.num_microbatches), efficiency())
    relaxed = relax(task, strategy)
    assert not isinstance(relaxed, str), relaxed
    where = place(cluster, relaxed.strategy, relaxed.traffic, task.job)
    return task, realise(task, relaxed.strategy, relaxed.stages, where)


@pytest.mark.parametrize("schedule", sorted(CASES))
def test_the_last_event_ends_when_the_plan_says(schedule):
    """Total of the simulation = predicted step; every forward and backward of each chunk and microbatch is there once."""
    task, plan = placed(schedule, **CASES[schedule])
    events = events_of(task, plan.strategy, plan.stages, plan.placement)
    ends = events.start_s + events.seconds
    assert events.step_s == pytest.approx(plan.cost.step_s, rel=1e-9)
    assert ends.max() == pytest.approx(plan.cost.step_s, rel=1e-9)
    assert events.start_s.min() >= 0
    forward = events.name == NAMES.index("forward")
    pieces = set(zip(events.chunk[forward].tolist(), events.microbatch[forward].tolist(), strict=True))
    assert len(pieces) == forward.sum() == plan.strategy.num_chunks * plan.strategy.num_microbatches
    assert set(events.stage.tolist()) == set(range(plan.strategy.pp))


@pytest.mark.parametrize("lane", [COMPUTE, BETWEEN, DATA])
def test_a_lane_does_one_thing_at_a_time(lane):
    """Compute, and the messages of gradients, stand one after the other on a stage; so do sends of one direction."""
    task, plan = placed("interleaved", vpp=2)
    e = events_of(task, plan.strategy, plan.stages, plan.placement)
    for p in range(plan.strategy.pp):
        mine = (e.lane == lane) & (e.stage == p)
        for name in set(e.name[mine].tolist()):
            at = mine & (e.name == name)
            start, seconds = e.start_s[at], e.seconds[at]
            assert np.all(start[1:] >= start[:-1] + seconds[:-1] - 1e-9)


def test_gradients_that_hide_end_before_the_pipeline_does():
    """Buckets of the hidden part lie beside compute; what shows stands after it."""
    task, plan = placed("1f1b")
    e = events_of(task, plan.strategy, plan.stages, plan.placement)
    buckets, host = e.name == REDUCE, e.name == HOST
    assert buckets.any()
    assert (e.start_s + e.seconds)[buckets].max() <= e.start_s[host].min() + 1e-9


def test_experts_have_a_lane_of_their_own():
    """Dispatch and combine of every piece, where experts are spread."""
    task, plan = placed("1f1b", "moe-1t", tp=1, dp=64, ep=64, pp=8, num_microbatches=16)
    e = events_of(task, plan.strategy, plan.stages, plan.placement)
    assert {NAMES[n] for n in e.name[e.lane == EXPERT].tolist()} == {"dispatch", "combine"}


def test_the_trace_opens(tmp_path):
    """Chrome trace format: complete events in microseconds, a process a stage, a named thread a lane; the same bytes again."""
    task, plan = placed("1f1b")
    e = events_of(task, plan.strategy, plan.stages, plan.placement)
    assert write_trace(e, tmp_path / "a.json.gz") == len(e.seconds)
    write_trace(e, tmp_path / "b.json.gz")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    tree = json.loads(gzip.decompress((tmp_path / "a.json.gz").read_bytes()))
    slices = [x for x in tree["traceEvents"] if x["ph"] == "X"]
    assert {x["args"]["name"] for x in tree["traceEvents"] if x["name"] == "thread_name"} == set(LANES)
    assert max(x["ts"] + x["dur"] for x in slices) == pytest.approx(plan.cost.step_s * 1e6, rel=1e-6)
    told = facts(e)
    assert told["step_time_s"] == told["last_event_ends_s"] == pytest.approx(plan.cost.step_s)
    assert f"{len(e.seconds):,} events" in screen(told)


@pytest.mark.parametrize("schedule", ["1f1b", "interleaved", "zb-v", "dualpipe"])
def test_the_trace_keeps_to_its_format(schedule):
    """What Perfetto asks of a trace: slices of a thread nest or follow each other, each arrow starts and ends on a slice and
    never goes back in time, counters never fall below zero and end at it.
    """
    task, plan = placed(schedule, **CASES[schedule])
    found = json.loads(trace_text(events_of(task, plan.strategy, plan.stages, plan.placement)))["traceEvents"]
    assert {e["ph"] for e in found} == {"M", "X", "C", "s", "f"}
    threads, ends, held = {}, {}, {}
    for e in found:
        if e["ph"] == "X":
            threads.setdefault((e["pid"], e["tid"]), []).append((e["ts"], e["ts"] + e["dur"]))
        elif e["ph"] in "sf":
            ends.setdefault(e["id"], {})[e["ph"]] = e
        elif e["ph"] == "C":
            held.setdefault(e["pid"], []).append(e["args"]["chunks"])
    for spans in threads.values():
        spans.sort()
        assert all(a[1] <= b[0] + 0.002 or b[1] <= a[1] + 0.002 for a, b in pairwise(spans))
    assert all(set(pair) == {"s", "f"} for pair in ends.values())
    for pair in ends.values():
        assert pair["s"]["ts"] <= pair["f"]["ts"] + 0.002
        assert pair["s"]["pid"] != pair["f"]["pid"]
        assert all(any(a == e["ts"] for a, _ in threads[e["pid"], e["tid"]]) for e in pair.values())
    s = plan.strategy
    assert len(ends) == 2 * s.num_microbatches * sum(a != b for a, b in pairwise(s.chunk_stage.tolist()))
    assert all(min(n) >= 0 and n[-1] == 0 for n in held.values())
    assert set(held) == set(range(s.pp))


def test_a_dualpipe_stage_runs_two_chunks():
    """Each stage is busy with half the batch of its own chunk and half of the mirrored one, and holds both's parameters."""
    task, plan = placed("dualpipe")
    s = plan.strategy
    _, layer = priced(task, s, plan.placement)
    busy = plan.cost.stage_s_P
    assert np.allclose(busy, busy[::-1])
    assert layer.dense_KY.shape[0] == 1
