# SPDX-License-Identifier: Apache-2.0
"""`placement sweep` on a Ray cluster of two raylets finds what one core finds, to the byte."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from placement.cli.main import main
from tests.exports import ask

ROOT = Path(__file__).parents[2]
MODEL = """\
name: toy
transformer: {layers: 4, hidden: 1024, heads: 8, kv_heads: 4, ffn: 4096, vocab: 32000}
job: {sequence_length: 1024, global_batch: 32, precision: bf16}
"""
# A cluster that runs, then the program as a user calls it: its address comes from the environment. What the cluster ran is
# known to Ray itself: joblib's tasks go through actors of its pool.
SCRIPT = """
import json, os, subprocess, sys
import ray
from ray._private.state import actors
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
cluster.add_node(**node)
cluster.wait_for_nodes()
env = {**os.environ, "RAY_ADDRESS": cluster.address}
run = subprocess.run([sys.executable, "-m", "placement", *sys.argv[1:]], env=env, capture_output=True, text=True)
ray.init(address=cluster.address, logging_level="error")
nodes = {actor["Address"]["NodeID"] for actor in actors().values()}
ray.shutdown()
cluster.shutdown()
print(json.dumps([run.returncode, run.stdout, run.stderr[-2000:], len(nodes)]))
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "toy.yaml").write_text(MODEL, encoding="utf-8")
    return ["sweep", str(tmp_path / "toy.yaml"), "tiny", "--gpus", "4,8", "--format", "json"]


def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own environment also finds the program and what it imports: those of this interpreter, after its own."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *(p for p in sys.path if p.endswith("-packages"))]))


@pytest.mark.skipif(not os.environ.get("PLACEMENT_CONFORMANCE"), reason="servers on the network: `make conformance`")
def test_a_sweep_on_ray_is_a_sweep_on_one_core(words, tmp_path, capsys, monkeypatch):
    """Two sizes on two raylets of one core each."""
    assert main(words) == 0
    alone = capsys.readouterr().out
    reached(monkeypatch)
    code, out, err, nodes = ask(SCRIPT, tmp_path, *words, "--backend", "ray", modules=("ray",))
    assert code == 0, err
    assert out == alone
    assert nodes >= 1, "the work did not reach the cluster"  # one actor may have done it all before the other was up
