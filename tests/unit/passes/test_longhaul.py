# SPDX-License-Identifier: Apache-2.0
"""Two halls and a thin tier between them: what goes across, and that the plan says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from placement.api import compile as compile_plan
from placement.api import load_cluster, load_job, load_model
from placement.ir import Plan
from placement.passes.longhaul import across
from tests import clusters

HALLS = (Path(__file__).parents[3] / "topologies" / "two-halls-gb200.yaml").read_text()
PINS = {"tp": 4, "cp": 4, "micro_batch": 1}


def plan(tmp_path: Path, uplink: str) -> Plan:
    """Llama 3 70B with a batch of 64 on both halls, at this bandwidth between them."""
    assert HALLS.count("uplink: 3.2 Tb/s") == 1
    path = tmp_path / "halls.yaml"
    path.write_text(HALLS.replace("uplink: 3.2 Tb/s", f"uplink: {uplink}"))
    model, defaults = load_model("llama3-70b")
    return compile_plan(load_cluster(path), model, load_job(None, defaults | {"global_batch": 64}, PINS, effort=1))


def test_what_crosses_the_halls_follows_their_links(tmp_path: Path) -> None:
    """Thin links: activations of a pipeline cross, once a microbatch. Thick ones: gradients do, and stages stay in a hall."""
    thin, thick = plan(tmp_path, "0.4 Tb/s"), plan(tmp_path, "51.2 Tb/s")
    crossing = [{a: t["hall"] for a, t in p.chosen.cost.bytes_tier.items() if t["hall"]} for p in (thin, thick)]
    assert (set(crossing[0]), set(crossing[1])) == ({"pp"}, {"dp"})
    # 64 sequences of 8,192 tokens of 8,192 bf16 numbers, to the other hall and their gradients back, and again for every chunk
    times = 2 * thin.chosen.strategy.vpp - 1
    assert crossing[0]["pp"] == pytest.approx(times * 2 * 64 * 8192 * 8192 * 2)
    assert any("of a hall are 576 times thinner than its adapters; over them goes pipeline par" in w for w in thin.warnings)
    assert not any("hall" in w for w in thick.warnings)  # 4.5 times: an ordinary taper


def test_thin_tiers_name_what_crosses_most_bytes_first() -> None:
    """Leaf groups of 2 domains of 1 node of 2 GPUs: 4 adapters over a tenth of one of them."""
    cluster = clusters.regular(2, 1, (2, 2), taper=(0.1,))
    moved = {"dp": {"leaf": 2e9}, "pp": {"leaf": 3e9}, "tp": {"nvlink": 1e9}}
    (said,) = across(cluster, moved)
    assert said == (
        "the links of a leaf are 10 times thinner than its adapters; over them goes pipeline parallelism (3.0 GB a step), "
        "data parallelism (2.0 GB a step)"
    )
    assert not list(across(cluster, {"dp": {"leaf": 0.0}}))
    assert not list(across(clusters.regular(2, 1, (2, 2)), moved))
