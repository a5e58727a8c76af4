# SPDX-License-Identifier: Apache-2.0
"""Every command shows an example below its help, and every example runs as it stands."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import typer

from placement.cli.app import app_of
from placement.cli.examples import EXAMPLES
from placement.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
RUN = """\
- id: {id}
  model: {{key: toy, name: Toy, seq_len: 4096, kind: dense, layers: 8, hidden: 4096, ffn: 16384, heads: 32, kv_heads: 8,
    head_dim: 128, vocab: 32000, gated_mlp: true, tied_embeddings: false, params_total_b: 2.2}}
  task: pretrain
  hardware: H100
  nvlink_domain: 8
  n_gpus: 8
  precision: bf16
  tp: {tp}
  pp: 1
  cp: 1
  gbs: 64
  mbs: 1
  recompute: none
  software: Megatron-LM
  release: '2025-06'
  core: true
  measured: {{step_time_s: {s}, tokens_per_s_per_gpu: null, tflops_per_gpu: null, mfu: null}}
"""
FLEET = """\
name: two-jobs
topology: gb200-su
jobs:
  - {name: first, model: llama3-70b, racks: 4, priority: 2}
  - {name: second, model: llama3-70b, racks: 2, priority: 1}
"""
PAIRS = """\
name: pairs
towers:
  front: {axes: {tp: 2, dp: 2}, bytes: {tp: 1 GB, dp: 1 GB}}
  back: {ranks: 4}
bridges: []
pairs:
  - {source: 0, target: 4, bytes: 1 GB}
  - {source: 2, target: 6, bytes: 1 GB}
"""
LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 4, "hidden_size": 1024,
    "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 4096, "vocab_size": 32000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip


def commands(group: typer.Typer, prefix: str = "") -> Iterator[str]:
    """Every command as it is typed."""
    for command in group.registered_commands:
        yield f"{prefix}{command.name or command.callback.__name__}"
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, f"{prefix}{inner.name} ")


KNOWN = frozenset(commands(app_of()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    path = tmp_path_factory.mktemp("examples")
    (path / "cluster.yaml").write_bytes((ROOT / "topologies" / "tiny.yaml").read_bytes())
    (path / "model.yaml").write_bytes((ROOT / "models" / "llama3-70b.yaml").read_bytes())
    (path / "topology.conf").write_text(
        "SwitchName=leaf0 Nodes=n[0-1]\nSwitchName=leaf1 Nodes=n[2-3]\nSwitchName=spine Switches=leaf[0-1]\n", encoding="utf-8"
    )
    (path / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    (path / "fleet.yaml").write_text(FLEET, encoding="utf-8")
    (path / "pairs.yaml").write_text(PAIRS, encoding="utf-8")
    runs = "".join(RUN.format(id=f"r{i}", tp=tp, s=s) for i, (tp, s) in enumerate(((1, 1.9), (2, 2.0), (4, 2.3))))
    (path / "runs.yaml").write_text(runs, encoding="utf-8")
    return path


def called(line: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of an example."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(shlex.split(line)[1:])
    return int(code), out.getvalue(), err.getvalue()


def test_every_command_has_an_example():
    """No command is without an example."""
    assert sorted(KNOWN - set(EXAMPLES)) == []


@pytest.mark.parametrize("name", sorted(KNOWN & set(EXAMPLES)))
def test_help_shows_it(name):
    """The example stands below the help of its command."""
    code, out, _ = called(f"placement {name} --help")
    assert code == 0
    assert all(f"  {line}\n" in out for line in EXAMPLES[name])


def test_all_examples_run(folder, monkeypatch):
    """In the order of the list, each example ends with exit code 0."""
    monkeypatch.chdir(folder)
    failed = {}
    for line in (line for name, lines in EXAMPLES.items() if name in KNOWN for line in lines):
        code, _, err = called(line)
        if code:
            failed[line] = (code, err[-600:])
    assert failed == {}
