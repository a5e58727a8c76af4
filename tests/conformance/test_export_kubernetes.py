# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' own schemas take the exported objects, and the pods they make are the plan's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from placement.export.kubernetes import MAX_OBJECT
from tests.exports import ask, exported, host_of, small_plan
from tests.plans import tiny_cluster, tiny_plan

SCRIPT = """
import json, sys
from pathlib import Path
import kubernetes_validate
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet
count = 0
for name in sys.argv[1:]:
    jobset = json.loads(Path(name).read_text())
    JobsetV1alpha2JobSet.from_dict(jobset)
    for job in jobset["spec"]["replicatedJobs"]:
        meta = {"name": job["name"]} | job["template"].get("metadata", {})
        whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": job["template"]["spec"]}
        kubernetes_validate.validate(whole, "1.31", strict=True)
        count += 1
print(count)
"""


def jobsets(folder: Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("jobset-*.yaml"))]


def test_schemas(tmp_path: Path) -> None:
    """Every job passes the strict schema of Job, every JobSet the model of its CRD."""
    case, folder = exported("kubernetes", small_plan(), tmp_path)
    names = []
    for i, tree in enumerate(jobsets(folder)):
        (folder / f"{i}.json").write_text(json.dumps(tree))
        names.append(f"{i}.json")
    assert ask(SCRIPT, folder, *names, modules=("kubernetes_validate", "kubeflow_trainer_api")) == len(set(host_of(case)))


@pytest.mark.parametrize("wrong", ["parallelism", "completionmode"])
def test_schemas_bite(tmp_path: Path, wrong: str) -> None:
    """The validator refuses a count that is text, and a misspelt field."""
    _, folder = exported("kubernetes", small_plan(), tmp_path)
    tree = jobsets(folder)[0]
    tree["spec"]["replicatedJobs"][0]["template"]["spec"][wrong] = "4"
    (folder / "bad.json").write_text(json.dumps(tree))
    with pytest.raises(AssertionError, match=wrong):
        ask(SCRIPT, folder, "bad.json", modules=("kubernetes_validate", "kubeflow_trainer_api"))


def test_pods_are_the_plan(tmp_path: Path) -> None:
    """Labels and node selectors together give every domain as many pods as the plan has hosts there, in the plan's order."""
    case, folder = exported("kubernetes", small_plan(), tmp_path)
    lines = [line.split("\t") for line in (folder / "labels.tsv").read_text().splitlines() if not line.startswith("#")]
    labels = {host: dict(word.split("=") for word in words.split()) for host, words in lines}
    assert sorted(labels) == sorted(set(host_of(case)))
    assert [labels[host]["placement/slot"] for host in dict.fromkeys(host_of(case))] == sorted(
        each["placement/slot"] for each in labels.values()
    )
    for jobset in jobsets(folder):
        for job in jobset["spec"]["replicatedJobs"]:
            selector = job["template"]["spec"]["template"]["spec"]["nodeSelector"]
            hosts = [h for h, have in labels.items() if selector.items() <= have.items()]
            assert len(hosts) == job["template"]["spec"]["completions"]
            assert len({np.flatnonzero(case.cluster.host_N == h)[0] for h in hosts}) == len(hosts)


def test_large_jobs_are_split(tmp_path: Path) -> None:
    """3,056 domains become several JobSets, each far under the 1.5 MiB of the object store, all domains once."""
    case, folder = exported("kubernetes", tiny_plan(tiny_cluster(leafs=191, nodes=16, gpus=4)), tmp_path)
    sizes, names = [], []
    for path in sorted(folder.glob("jobset-*.yaml")):
        tree = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        sizes.append(len(json.dumps(tree)))
        names += [job["name"] for job in tree["spec"]["replicatedJobs"]]
    assert len(sizes) == math.ceil(sum(sizes) / MAX_OBJECT) > 1
    assert max(sizes) < 1.1 * MAX_OBJECT
    assert len(set(names)) == len(names) == case.hosts
