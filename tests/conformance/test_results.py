# SPDX-License-Identifier: Apache-2.0
"""What commands print with `--format json` is what their published schemas say, key by key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from placement.cli.schema import kinds
from placement.report.results import RESULTS, result_schema
from placement.spec.schemas import schema
from tests.conformance.test_help_examples import called, folder

__all__ = ["folder"]  # the files that examples name

ROOT = Path(__file__).resolve().parents[2]
BROKEN = "name: x\ngpu: H1000\nnode: {gpus: 2, nics: 2, nic_speed: 400}\nracks:\n  - {count: 0}\n"
WRITES = {  # what later commands read, in this order
    "plan": "plan llama3-70b gb200-su --pin tp=4 --pin dp=128 --effort 0 -o plan",
    "repair": "repair plan --failed su1-r1-t02 -o repaired",
    "map": "map pairs.yaml tiny -o mapped",
    "repair-map": "repair mapped --degraded n0-1:rail0 -o mapped-repaired",
    "fleet-plan": "fleet plan fleet.yaml --effort 0 -o fleet",
}
SIDES = ("ranks", "stages", "traffic", "memory", "groups", "tree")
READS = (
    *((f"show-{side}", f"show plan {side}") for side in SIDES),
    ("verify", "verify plan"),
    ("plan", "show plan"),
    ("why-rank", "why plan rank 137"),
    ("why-stage", "why plan stage 0"),
    ("why-node", "why plan node su1-r1-t01"),
    ("why-node", "why plan node su1-r3-t07"),
    ("why-link", "why plan link leaf 3"),
    ("why-axis", "why plan axis tp"),
    ("why-axis", "why plan axis ep"),
    ("simulate", "simulate plan"),
    ("spares", "spares plan --hours 24 --trials 50"),
    ("drill", "drill plan --days 1"),
    ("map", "map pairs.yaml tiny"),
    ("map", "show mapped"),
    ("show-ranks-map", "show mapped ranks"),
    ("show-traffic", "show mapped traffic"),
    ("show-groups", "show mapped groups"),
    ("show-tree", "show mapped tree"),
    ("why-rank-map", "why mapped rank 4"),
    ("why-node-map", "why mapped node n0-1"),
    ("why-link-map", "why mapped link leaf 0"),
    ("diagnostics", "show mapped memory"),
    ("diff-map", "diff mapped mapped"),
    ("diff-map", "diff mapped mapped-repaired"),
    ("report", "report mapped -o mapped.html"),
    ("diagnostics", "diff mapped plan"),
    ("diff", "diff plan repaired"),
    ("diff", "diff plan plan"),
    ("compare", "compare plan"),
    ("export", "export plan --to slurm -o job"),
    ("report", "report plan -o report.html"),
    ("fleet-show", "fleet show fleet"),
    ("topology-validate", "topology validate cluster.yaml"),
    ("fabric-validate", "topology validate topology.conf"),
    ("topology-show", "topology show gb300-220k"),
    ("topology-import", "topology import topology.conf --gpu H100"),
    ("topology-import", "topology import topology.conf --gpu H100 -o imported.yaml"),
    ("topology-export", "topology export gb200-su --to slurm-yaml"),
    ("topology-diff", "topology diff topology.conf topology.conf"),
    ("sweep", "sweep llama3-70b gb200-su --gpus 8,72 --pin tp=4 --pin pp=1 --pin cp=1 --pin dp=16 --pin micro_batch=1"),
    ("model-validate", "model validate model.yaml"),
    ("model-show", "model show deepseek-v3"),
    ("model-import", "model import config.json -o imported-model.yaml"),
    ("runtime", "runtime"),
    ("runtime", "runtime src"),
    ("accuracy", "accuracy runs.yaml"),
    ("calibrate", "calibrate --runs runs.yaml --no-cross-validate -o constants.yaml"),
    ("calibrate-own", "calibrate --steps runs.yaml -o own.yaml"),
    ("explain", "explain --all"),
    ("diagnostics", "plan llama3-70b broken.yaml"),
    ("diagnostics", "show nothing"),
    ("infeasible", "plan llama3-70b tiny"),
)


def closed(tree: Any) -> Any:
    """A schema that takes no key but those it describes."""
    if isinstance(tree, list):
        return [closed(x) for x in tree]
    if not isinstance(tree, dict):
        return tree
    out = {k: closed(v) for k, v in tree.items()}
    objects = tree.get("type") == "object" and "properties" in tree and "additionalProperties" not in tree
    return out | {"additionalProperties": False} if objects else out


@pytest.fixture(scope="module")
def ask(folder: Path) -> Callable[[str], dict[str, Any]]:
    """The JSON of a command that runs in the folder of the examples."""
    (folder / "broken.yaml").write_text(BROKEN, encoding="utf-8")

    def run(line: str) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            _, out, _ = called(f"placement {line} --format json")
        return json.loads(out)

    return run


@pytest.fixture(scope="module")
def written(ask: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {kind: ask(line) for kind, line in WRITES.items()}


def complaints(kind: str, value: Any) -> list[str]:
    tree = closed(result_schema(kind)) if kind in RESULTS else schema(kind)
    return [f"{list(e.absolute_path)}: {e.message[:160]}" for e in jsonschema.Draft7Validator(tree).iter_errors(value)]


@pytest.mark.parametrize(("kind", "line"), READS, ids=[line for _, line in READS])
def test_output_is_as_published(ask, written, kind, line):
    """Every key that is promised is there, nothing else is, and every value has its type."""
    assert complaints(kind, ask(line)) == []


@pytest.mark.parametrize("kind", sorted(WRITES))
def test_output_of_writers_is_as_published(written, kind):
    """The same for commands that write directories."""
    assert complaints(kind, written[kind]) == []


def test_every_result_is_tried():
    """No schema is without a command that is run here."""
    assert set(RESULTS) == {kind for kind, _ in READS if kind in RESULTS} | set(WRITES) - {"plan"}


@pytest.mark.parametrize("kind", sorted(RESULTS))
def test_published_files(kind):
    """schemas/results/ holds what `placement schema` prints: valid draft-07, every result with a sentence."""
    tree = result_schema(kind)
    jsonschema.Draft7Validator.check_schema(tree)
    assert json.loads((ROOT / "schemas" / "results" / f"{kind}.json").read_text(encoding="utf-8")) == tree
    assert tree["description"].endswith((".", "`"))
    assert kind in kinds()


def test_a_wrong_result_is_refused():
    """The check can fail: a missing key, a wrong type and an unknown key are each noticed."""
    good = {"format_version": "1.0", "plan": "0", "files": {"a": 1}}
    assert complaints("report", good) == []
    for bad in ({**good, "files": {"a": "1"}}, {**good, "more": 1}, {"plan": "0", "files": {}}):
        assert complaints("report", bad)
