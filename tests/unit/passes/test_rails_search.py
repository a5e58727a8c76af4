# SPDX-License-Identifier: Apache-2.0
"""Strategies that rails make impossible are rejected one by one, and do not end the search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from placement.api import compile as compile_plan
from placement.api import load_cluster, load_job, load_model
from tests import clusters

MODEL = """\
name: toy
transformer: {layers: 4, hidden: 1024, heads: 8, kv_heads: 4, ffn: 4096, vocab: 32000}
job: {sequence_length: 1024, global_batch: 32, precision: bf16}
"""


def test_a_plan_without_the_missing_path_is_found(tmp_path: Path) -> None:
    """Two hosts of two GPUs, one dead in each, on different rails: both GPUs work where rails are joined, one where not."""
    (tmp_path / "toy.yaml").write_text(MODEL, encoding="utf-8")
    model, defaults = load_model(tmp_path / "toy.yaml")
    job, chips = replace(load_job(None, defaults), ragged=True), load_cluster("gb200-su").chips
    plans = []
    for joined in (True, False):
        cluster = clusters.regular(2, 1, (2,), failed_gpus=[(0, 1), (1, 0)], rails_connected=joined)
        plans.append(compile_plan(replace(cluster, chips=chips), model, job))
    assert [p.chosen.strategy.world_size for p in plans] == [2, 1]
    assert [bool(p.search.rejected.get("no path between rails")) for p in plans] == [False, True]
