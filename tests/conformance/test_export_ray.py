# SPDX-License-Identifier: Apache-2.0
"""Ray starts the plan on a cluster of several raylets: every rank in the bundle of its host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.exports import ask, exported, host_of, slot_of, small_plan

SCRIPT = """
import json, sys
sys.path.insert(0, ".")
import ray, start
from ray.cluster_utils import Cluster
cluster = Cluster()
for host in sys.argv[1:]:
    more = {"env_vars": {"FAKE_HOST": host}, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster.add_node(num_cpus=1, num_gpus=4, labels={"placement-host": host}, **more)
told = "echo $RANK $FAKE_HOST $LOCAL_RANK $CUDA_VISIBLE_DEVICES $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $PLACEMENT_DIGEST"
code = start.main(["sh", "-c", told + " > told-$RANK"])
ray.shutdown()
cluster.shutdown()
print(json.dumps(code))
"""


@pytest.mark.skipif(not os.environ.get("PLACEMENT_CONFORMANCE"), reason="five servers on the network: `make conformance`")
def test_bundles_on_raylets(tmp_path: Path) -> None:
    """The exported driver starts 16 shuffled ranks on 4 raylets, labelled in another order, as the plan says."""
    case, folder = exported("ray", small_plan(leafs=2, nodes=2, gpus=4), tmp_path)
    assert ask(SCRIPT, folder, *sorted(set(host_of(case)), reverse=True), modules=("ray",)) == 0
    found = [(folder / f"told-{rank}").read_text().split() for rank in range(case.world)]
    same = ["0,1,2,3", "16", "4", host_of(case)[0], case.digest]
    assert found == [[str(r), host_of(case)[r], str(slot_of(case)[r]), *same] for r in range(case.world)]
