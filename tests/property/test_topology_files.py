# SPDX-License-Identifier: Apache-2.0
"""Whatever a topology or job file says, the answer is a value or findings, and a cluster keeps its invariants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.diag import InputError
from placement.spec import load_job
from placement.spec.source import parse, walk
from placement.spec.topology import lower_document

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
NASTY = [
    None, "", "0", "-1", "1", "2", "7", "1e3", "nan", "inf", "99999999999999999999", "x", "{rack}", "n[0-3]", "a -- b", "1 us",
    "0 us", "400 Gb/s",
    "1e30 Gb/s", "true", "8:1", "0:1", [], {}, ["1"], {"a": "b"}, "leaf-0", "spine", "n0-0:1", "[", "\u0663",
]  # fmt: skip
TREES = {name: parse((TOPOLOGIES / f"{name}.yaml").read_text()).tree for name in ("tiny", "gb200-su", "mixed-gb200-gb300")}


def changed(tree: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a tree with one value replaced."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = changed(tree[path[0]], path[1:], value)
    return copy


def check(error: InputError) -> None:
    """There are findings; each starts with a lower-case word, a name or a number."""
    assert error.diagnostics
    assert all(d.message[0].islower() or d.message[0] in "`0123456789" or "U+" in d.message for d in error.diagnostics)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """An example with up to three values replaced by nasty ones, as YAML."""
    tree = TREES[draw(st.sampled_from(sorted(TREES)))]
    for _ in range(draw(st.integers(1, 3))):
        path, _value = draw(st.sampled_from(list(walk(tree))))
        tree = changed(tree, path[: draw(st.integers(1, len(path)))], draw(st.sampled_from(NASTY)))
    return str(yaml.safe_dump(tree, default_style='"'))


@settings(max_examples=300)
@given(damaged())
def test_damaged_files(text: str) -> None:
    """Only findings come out of a damaged file, each with a place; what still loads is a sound cluster."""
    try:
        cluster = lower_document(parse(text, "t.yaml", "topology"))
    except InputError as error:
        check(error)
        return
    assert cluster.usable_NG.any()
    for inner, outer in zip(cluster.tiers, cluster.tiers[1:], strict=False):
        assert np.unique(np.stack([inner.group_N, outer.group_N]), axis=1).shape[1] == inner.num_groups
    assert all((t.uplink_Bps_J >= 0).all() for t in cluster.tiers)
    assert (cluster.nic_Bps_N[cluster.whole_N] > 0).all() or len(cluster.tiers) == 1


@settings(max_examples=200)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text(text: str) -> None:
    """No text makes the reader fail in another way than with findings."""
    try:
        lower_document(parse(text, "t.yaml", "topology"))
    except InputError as error:
        check(error)


JOB = {
    "sequence_length": "8192", "global_batch": "1024", "precision": "fp8", "gpus": "all",
    "spares": {"policy": "racks", "count": "1"},
    "optimizer": {"name": "adam", "moments": "bf16"}, "software": {"stack": "megatron", "year": "2026"}, "pins": {"tp": "8"},
    "schedules": ["1f1b"], "memory_margin": "5 %", "ragged": "allow", "effort": "1", "seed": "0",
}  # fmt: skip


@settings(max_examples=200)
@given(st.sampled_from(list(walk(JOB))), st.sampled_from(NASTY), st.integers(1, 3))
def test_damaged_jobs(where: tuple[tuple[str | int, ...], Any], value: Any, depth: int) -> None:
    """A damaged job is findings or a job."""
    tree = changed(JOB, where[0][:depth], value)
    try:
        job = load_job(None, tree, {})
    except InputError as error:
        check(error)
        return
    assert job.global_batch >= 1
    assert 0 <= job.memory_margin <= 1
