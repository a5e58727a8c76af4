# SPDX-License-Identifier: Apache-2.0
"""The strategy space as tables, checked by hand."""

from __future__ import annotations

from placement.ir import Job
from placement.passes.strategies import cross, divisors, length, product, replicas, sequence_splits, space
from placement.spec.model import lower_short
from tests.clusters import regular

MODEL = lower_short({
    "layers": 6, "hidden": 1024, "heads": 12, "kv_heads": 4, "head_dim": 64, "ffn": 1536, "vocab": 1000, "gated_mlp": True,
    "kind": "moe", "experts": 36, "topk": 2, "moe_ffn": 512, "shared_experts": 0, "dense_first_layers": 0,
}, "toy")  # fmt: skip


def test_divisors_ascend() -> None:
    """Divisors are complete, ascending, and include both ends."""
    assert divisors(36) == (1, 2, 3, 4, 6, 9, 12, 18, 36)
    assert divisors(1) == (1,)


def test_degrees_are_not_only_powers_of_two() -> None:
    """A rack of 36 GPUs offers expert groups of 9, 18 and 36; tp divides heads and fits the kv heads."""
    found = space(regular(4, 9, (2,)), MODEL, Job(seq_len=4096, global_batch=24))
    assert {9, 18, 36} <= set(found.ep)
    assert found.tp == (1, 2, 4, 12)  # 3 and 6 neither divide 4 kv heads nor are divided by them
    assert set(found.dp) == set(divisors(24))


def test_expert_groups_stay_in_a_rack_unless_pinned() -> None:
    """On rack-scale domains ep is at most the domain; a pin lifts that; domains of one host never had it."""
    job = Job(seq_len=4096, global_batch=24)
    assert max(space(regular(4, 8, (2,)), MODEL, job).ep) == 18
    assert max(space(regular(4, 8, (2,)), MODEL, Job(seq_len=4096, global_batch=24, pins={"ep": 36})).ep) == 36
    assert max(space(regular(8, 1, (8,)), MODEL, job).ep) == 36


def test_the_batch_is_never_changed() -> None:
    """Only dp * micro_batch that divide the global batch count as even."""
    job = Job(seq_len=4096, global_batch=6)
    rows, even = replicas(space(regular(2, 1, (2, 2)), MODEL, job), job)
    assert all(6 % (d * b) == 0 for d, b in zip(rows["dp"][even], rows["micro_batch"][even], strict=True))


def test_context_slices_are_even() -> None:
    """cp needs 2 cp slices for causal balance, each split over tp."""
    rows = product(tp=(1, 2), cp=(1, 4), micro_batch=(1,))
    assert sequence_splits(rows, Job(seq_len=8, global_batch=1)).tolist() == [True, True, True, False]


def test_cross_keeps_the_left_rows_together() -> None:
    """`cross` repeats left rows and tiles right rows."""
    both = cross(product(a=(1, 2)), product(b=(5, 6, 7)))
    assert length(both) == 6
    assert both["a"].tolist() == [1, 1, 1, 2, 2, 2]
    assert both["b"].tolist() == [5, 6, 7, 5, 6, 7]
