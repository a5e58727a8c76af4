# SPDX-License-Identifier: Apache-2.0
"""Any topology as a cluster: our own YAML, an example by name, or a foreign file that is recognised by its content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from placement.diag import Collector
from placement.ingest import detect, read_all
from placement.ingest.formats import Reading
from placement.ingest.source import head
from placement.ir import Cluster

NATIVE, UNKNOWN = "topology", ""
_OURS = re.compile(r"^(?:racks|nvlink|fabric):", re.MULTILINE)


def format_of(path: str) -> str:
    """Name of the format of a file; `topology` for our own YAML, for examples, and for YAML that no other
    format claims; "" for what nobody claims.
    """
    if not Path(path).is_file():
        return NATIVE
    start = head(path)
    if _OURS.search(start) and re.search(r"^name:", start, re.MULTILINE):
        return NATIVE
    found = detect(path, start)
    return found or (NATIVE if Path(path).suffix in (".yaml", ".yml") or not start.strip() else UNKNOWN)


def load_cluster(path: str, format: str | None = None, gpu: str | None = None, copy_of: str = "") -> Cluster:
    """The cluster of any topology file. Raises InputError; what is wrong with a capture is in `Cluster.findings`.

    `copy_of`: name of the cluster that the file was read as before it was copied; captures are called after their files.
    """
    return load_clusters([path], format, gpu, copy_of)


def load_clusters(
    paths: Sequence[str], format: str | None = None, gpu: str | None = None, copy_of: str = ""
) -> Cluster:  # fmt: skip
    """The cluster that one or several files describe together. Raises InputError."""
    if len(paths) == 1 and (format or format_of(paths[0])) == NATIVE:
        from placement.spec.topology import load_cluster as load_native

        return load_native(paths[0])
    from placement.ingest.cluster import cluster_of

    wired, found = read_all(paths, format, f"{copy_of}.topology.txt" if copy_of else "")
    cluster = cluster_of(wired, gpu)
    return replace(cluster, findings=(*found, *cluster.findings))


def load_wired(paths: Sequence[str], format: str | None = None) -> Reading:
    """Files as a wired fabric: captures and plans of cabling as they are, our own YAML as what it stands for."""
    if len(paths) == 1 and (format or format_of(paths[0])) == NATIVE:
        from placement.spec.expand import load_wired as expand

        return expand(paths[0]), ()
    wired, found = read_all(paths, format)
    gathered = Collector(list(found))
    return wired, tuple(gathered.found)
