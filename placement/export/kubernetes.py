# SPDX-License-Identifier: Apache-2.0
# H host   D NVLink domain that the plan uses
"""Kubernetes: JobSets with one replicated job an NVLink domain, node labels, and a Kueue topology.

No object can say "pod i on node x". A job a domain, with a node selector, puts the right number of pods on the right rack;
inside, placement-exec finds the ranks from the node's name. The plan comes by a volume: a ConfigMap holds 1 MiB, plan.bin more.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from placement.diag import Diagnostic, Severity
from placement.export.case import Case, Export
from placement.export.text import rows

MAX_OBJECT = 700_000  # bytes of JSON; etcd takes 1.5 MiB, and servers add status and managed fields
LABEL = "placement"  # prefix of the node labels


def export(case: Case) -> Export:
    """`jobset-NN.yaml`, `labels.tsv`, `label-nodes.sh`, `kueue.yaml`."""
    jobsets = _jobsets(case)
    width = len(str(len(jobsets) - 1))
    files = {
        "README": case.readme(
            "sh label-nodes.sh; put image, claim and command in the jobset files (IMAGE, PLAN-CLAIM); kubectl create -f each.",
            "needs JobSet v1alpha2 and placement-exec in the image; kueue.yaml is for topology-aware scheduling (v1beta2).",
        ),
        "labels.tsv": case.stamp() + _labels(case),
        "label-nodes.sh": _script(case),
        "kueue.yaml": case.stamp() + _kueue(case).encode(),
    }
    for i, jobset in enumerate(jobsets):
        files[f"jobset-{i:0{width}}.yaml"] = case.stamp() + ("\n".join(_yaml(jobset)) + "\n").encode()
    return Export(files, tuple(_warnings(len(jobsets))))


def _warnings(count: int) -> list[Diagnostic]:
    if count == 1:
        return []
    message = f"the job is {count} JobSets: one would be larger than the object store takes"
    way_out = "create all of them before the first rendezvous times out; Kueue admits each on its own"
    return [Diagnostic("export/split", message, Severity.WARNING, help=way_out)]


def _ordinals(case: Case) -> tuple[Any, Any]:
    """Number of each domain in the plan, and of each host: zero-padded, so that Kueue's sorting keeps the order."""
    domains, domain_H = np.unique(case.domain_H, return_inverse=True)
    wide, high = len(str(len(domains) - 1)), len(str(case.hosts - 1))
    domain_D = np.char.zfill(np.arange(len(domains)).astype(np.str_), wide).astype(np.bytes_)
    return domain_D[domain_H], np.char.zfill(np.arange(case.hosts).astype(np.str_), high).astype(np.bytes_)


def _labels(case: Case) -> bytes:
    domain_H, slot_H = _ordinals(case)
    plan = f"\t{LABEL}/plan={case.digest[:16]} {LABEL}/domain=".encode()
    return rows(case.name_H, plan, domain_H, f" {LABEL}/slot=".encode(), slot_H, b"\n")


def _script(case: Case) -> bytes:
    return f"""#!/bin/sh
# placement plan {case.digest}
# Labels the nodes of the plan, 16 at a time.
here=$(cd "$(dirname "$0")" && pwd)
grep -v '^#' "$here/labels.tsv" | xargs -P 16 -L 1 kubectl label --overwrite node
""".encode()


def _jobsets(case: Case) -> list[dict[str, Any]]:
    """As few JobSets as MAX_OBJECT allows; domains in the order of their numbers."""
    domain_H, _ = _ordinals(case)
    names, hosts_D = np.unique(domain_H, return_counts=True)
    rack = case.domain_name_J[np.unique(case.domain_H)]
    gpus_D = np.zeros(len(names), np.int64)
    np.maximum.at(gpus_D, np.unique(case.domain_H, return_inverse=True)[1], case.ranks_H)
    jobs = [
        _job(case, name.decode(), where.decode(errors="replace"), int(hosts), int(gpus))
        for name, where, hosts, gpus in zip(names, rack, hosts_D, gpus_D, strict=True)
    ]
    sizes = np.cumsum([len(json.dumps(job)) for job in jobs])
    part_D = (sizes - 1) // MAX_OBJECT
    count = int(part_D[-1]) + 1
    return [_jobset(case, i, count, [jobs[d] for d in np.flatnonzero(part_D == i)]) for i in range(count)]


def _jobset(case: Case, number: int, count: int, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    name = f"placement-{case.digest[:8]}" + (f"-{number}" if count > 1 else "")
    meta = {"name": name, "annotations": {f"{LABEL}/plan": case.digest, f"{LABEL}/part": f"{number + 1} of {count}"}}
    spec = {"failurePolicy": {"maxRestarts": 0}, "network": {"enableDNSHostnames": False}, "replicatedJobs": jobs}
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": meta, "spec": spec}


def _job(case: Case, name: str, rack: str, hosts: int, gpus: int) -> dict[str, Any]:
    """One indexed job: a pod on each host of a domain, with all GPUs that the plan uses there."""
    command = ["placement-exec", "--host", "$(NODE_NAME)", "--all-local", "--digest", case.digest[:16], "/plan", "--"]
    container = {
        "name": "ranks",
        "image": "IMAGE",
        "command": [*command, "/job/start.sh"],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
        "volumeMounts": [{"name": "plan", "mountPath": "/plan", "readOnly": True}],
    }
    pod = {
        "restartPolicy": "Never",
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "nodeSelector": {f"{LABEL}/plan": case.digest[:16], f"{LABEL}/domain": name},
        "containers": [container],
        "volumes": [{"name": "plan", "persistentVolumeClaim": {"claimName": "PLAN-CLAIM", "readOnly": True}}],
    }
    spec = {"completionMode": "Indexed", "completions": hosts, "parallelism": hosts, "backoffLimit": 0}
    kueue = {"metadata": {"annotations": {"kueue.x-k8s.io/podset-required-topology": f"{LABEL}/domain"}}, "spec": pod}
    template = {"metadata": {"annotations": {f"{LABEL}/rack": rack}}, "spec": spec | {"template": kueue}}
    return {"name": f"d{name}", "replicas": 1, "template": template}


def _kueue(case: Case) -> str:
    levels = "".join(f"    - nodeLabel: {LABEL}/{level}\n" for level in ("plan", "domain", "slot"))
    topology = f"apiVersion: kueue.x-k8s.io/v1beta2\nkind: Topology\nmetadata:\n  name: placement\nspec:\n  levels:\n{levels}"
    flavor = "apiVersion: kueue.x-k8s.io/v1beta2\nkind: ResourceFlavor\nmetadata:\n  name: placement\nspec:\n"
    return f'{topology}---\n{flavor}  nodeLabels:\n    {LABEL}/plan: "{case.digest[:16]}"\n  topologyName: placement\n'


def _yaml(value: Any, indent: str = "") -> list[str]:
    """Block YAML of mappings, lists and scalars; text is quoted as in JSON, so that it stays text."""
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _entry(f"{key}:", item, indent)]
    return [line for item in value for line in _item(item, indent)]


def _entry(key: str, item: Any, indent: str) -> list[str]:
    if isinstance(item, dict | list):
        return [f"{indent}{key}", *_yaml(item, f"{indent}  ")]
    return [f"{indent}{key} {json.dumps(item)}"]


def _item(item: Any, indent: str) -> list[str]:
    if not isinstance(item, dict | list):
        return [f"{indent}- {json.dumps(item)}"]
    first, *rest = _yaml(item, f"{indent}  ")
    return [f"{indent}- {first.lstrip()}", *rest]
