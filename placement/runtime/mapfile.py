# SPDX-License-Identifier: Apache-2.0
# R rank   K tower
"""The directory of a job of several towers: map.json for people, plan.bin for launchers, ranks.csv for everything else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from placement._version import __version__
from placement.diag import Diagnostic, Label, PlanError, Span
from placement.ir import Cluster, Strategy, Term, Traffic
from placement.ir.comms import Comms, CommsPlan, Tower
from placement.runtime import tables
from placement.runtime.atomic import replace_directory
from placement.runtime.comms_tables import comms_tables
from placement.runtime.layout import Section
from placement.runtime.planbin import PlanBin, pack, plan_digest
from placement.runtime.planfile import Bundle, LoadedPlan, open_binary
from placement.runtime.planjson import dump, stable
from placement.runtime.rows import csv_lines, digits, host_columns

FORMAT_VERSION = "1.0"
MARK = "map.json"
FILES = (MARK, "plan.bin", "ranks.csv", "inputs", "moves.json", "moves.csv", "superseded.json")
KEYS = ("format_version", "digest", "world_size", "towers", "tiers", "parts", "busiest_s", "launcher", "gap", "no_certificate")
COORDINATES = ("tp", "cp", "dp", "pp", "etp", "ep", "edp")


def is_map(path: Path | str) -> bool:
    return (Path(path) / MARK).is_file()


def assemble_map(plan: CommsPlan, inputs: Mapping[str, bytes]) -> Bundle:
    """All bytes of the directory; the digest covers map.json (all but `digest` and `files`) and the tables of plan.bin."""
    sections = comms_tables(plan)
    tree = stable(_tree(plan, inputs))
    digest = plan_digest(dump(tree), sections)
    flags, counts = tables.flags(plan.cluster, sections), tables.counts(plan.cluster, sections)
    binary = pack(sections, digest=digest, flags=flags, counts=counts)
    rows = "".join(map_rows(PlanBin(np.void(b""), sections), plan.comms.towers)).encode()
    files = {"plan.bin": binary, "ranks.csv": rows}
    stamps = {name: {"bytes": len(data), "sha256": sha256(data).hexdigest()} for name, data in files.items()}
    tree |= {"digest": digest.hex(), "files": stamps}
    copies = {f"inputs/{name}": data for name, data in inputs.items()}
    return Bundle(tree, {MARK: dump(tree).encode(), **files, **copies})


def write_map(bundle: Bundle, out: Path) -> str:
    """Write the directory atomically and return its digest. Raises InputError where `out` cannot be written."""
    replace_directory(out, bundle.files, FILES, mark=MARK, what="map")
    return bundle.digest


def load_map(path: Path | str) -> LoadedPlan:
    """Read a map directory. Raises PlanError if it is missing, damaged, or its parts do not belong together."""
    path = Path(path)
    try:
        tree = json.loads((path / MARK).read_bytes())
        inputs = {name: (path / "inputs" / Path(name).name).read_bytes() for name in sorted(dict(tree)["inputs"])}
        _ = (
            [tree[key] for key in KEYS],
            tree["cluster"]["tiers"],
            [(t["name"], t["cell"], t["first_rank"]) for t in tree["towers"]],
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refuse("damaged", f"{MARK} or a copy of an input cannot be read: {error}", path) from None
    if str(tree["format_version"]).split(".")[0] != FORMAT_VERSION.split(".", maxsplit=1)[0]:
        raise _refuse("version", f"{MARK} has format version {tree['format_version']}, not 1.x", path)
    binary: PlanBin = open_binary(path / "plan.bin")
    if binary.digest != tree["digest"]:
        raise _refuse("digest-mismatch", f"plan.bin and {MARK} are of different jobs", path)
    return LoadedPlan(path, tree, binary, inputs)


def require_inputs(loaded: LoadedPlan) -> None:
    """Refuse a map whose copies of inputs are other files. Raises PlanError."""
    for name, data in loaded.inputs.items():
        if sha256(data).hexdigest() != loaded.json["inputs"][name]:
            raise _refuse("damaged", f"`inputs/{name}` is not the file that the map was made from", loaded.path)


def require_ranks(loaded: LoadedPlan, comms: Comms) -> None:
    """Refuse a map whose ranks are not those of its towers. Raises PlanError."""
    if len(loaded.bin[Section.RANKS]) != comms.world_size:
        raise _refuse("damaged", f"plan.bin has other ranks than the towers of {MARK}", loaded.path)


def map_digest(loaded: LoadedPlan) -> str:
    """The digest, computed again from what was read."""
    tree = {k: v for k, v in loaded.json.items() if k not in ("digest", "files")}
    return plan_digest(dump(tree), loaded.bin.sections).hex()


def _tree(plan: CommsPlan, inputs: Mapping[str, bytes]) -> dict[str, Any]:
    moved, launcher = plan.tier_bytes(), plan.tier_bytes(plan.launcher_parts)
    return {
        "format_version": FORMAT_VERSION,
        "tool": {"name": "placement-compiler", "version": __version__},
        "inputs": {name: sha256(data).hexdigest() for name, data in inputs.items()},
        "model": {"name": plan.comms.name},
        "hypothetical": plan.comms.hypothetical,
        "cluster": {
            "name": plan.cluster.name, "digest": plan.cluster.digest(), "tiers": [t.name for t in plan.cluster.tiers],
        },
        "world_size": plan.comms.world_size,
        "spare_gpus": int(plan.cluster.usable_NG.sum()) - plan.comms.world_size,
        "towers": [
            _tower(t, first, plan.cells[t.name]) for t, first in zip(plan.comms.towers, plan.comms.first, strict=True)
        ],
        "how": plan.how,
        "tried": [{"how": how, "score_s": score} for how, score in plan.tried],
        "busiest_s": plan.busiest_s,
        "launcher": {"busiest_s": plan.launcher_busiest_s, "keeps_cells": plan.launcher_keeps},
        "tiers": {
            name: {"bytes": moved[name], "launcher_bytes": launcher[name], "lower_bytes": plan.lower[name],
                   "method": plan.method[name]}
            for name in moved
        },
        "joint_lower_bytes": plan.joint_lower,
        "gap": plan.gap,
        "parts": {
            label: {"bytes": dict(tiers), "lower_bytes": plan.part_lower.get(label, {})} for label, tiers in plan.parts.items()
        },
        "tower_lower_bytes": {t.name: plan.part_lower[t.name] for t in plan.comms.towers},
        "no_certificate": dict(plan.why),
        "hints": plan.hints,
    }  # fmt: skip


def _tower(tower: Tower, first: int, cell: int) -> dict[str, Any]:
    s = tower.strategy
    return {
        "name": tower.name, "source": tower.source, "first_rank": first, "ranks": tower.ranks, "cell": cell,
        "strategy": None if s is None else asdict(s),
        "traffic": [{"axis": t.axis, "kind": t.kind, "bytes_P": t.bytes_P} for t in tower.traffic.terms],
    }  # fmt: skip


def map_rows(binary: PlanBin, towers: Sequence[Tower]) -> Iterator[str]:
    """ranks.csv: a header, then a line a rank in chunks, with the coordinates that it has in its tower."""
    rank = binary[Section.RANKS]
    tower_R = np.repeat(np.arange(len(towers)), [t.ranks for t in towers])
    name_K = np.array([t.name for t in towers]).astype(np.bytes_)
    columns = {"rank": digits(rank["rank"]), **host_columns(binary, rank), "tower": name_K[tower_R]}
    at = [_coordinates(t) for t in towers]
    columns |= {axis: digits(np.concatenate([a[axis] for a in at])) for axis in COORDINATES}
    columns |= {"local_rank": digits(rank["local_rank"])}
    return csv_lines(columns)


def _coordinates(tower: Tower) -> Mapping[str, Any]:
    """Of bare ranks: their number as `dp`."""
    rank_R = np.arange(tower.ranks)
    if tower.strategy is not None:
        return tower.strategy.coordinates(rank_R)
    return {**dict.fromkeys(COORDINATES, np.zeros(tower.ranks, np.int64)), "dp": rank_R}


def _refuse(name: str, message: str, path: Path) -> PlanError:
    help = "write it again with `placement map`"
    return PlanError([Diagnostic(f"plan/{name}", message, primary=Label(Span(str(path))), help=help)])


def stated_towers(loaded: LoadedPlan) -> dict[str, tuple[Strategy, Traffic]]:
    """Strategy and bytes of towers that run a model, as map.json states them. Raises PlanError where it does not."""
    found = {}
    try:
        for tower in loaded.json["towers"]:
            if tower["source"] not in ("axes", "ranks"):
                terms = tuple(Term(t["axis"], t["kind"], np.array(t["bytes_P"], float)) for t in tower["traffic"])
                found[str(tower["name"])] = (Strategy(**tower["strategy"]), Traffic(terms))
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise _refuse("damaged", f"a tower of {MARK} cannot be read: {error}", loaded.path) from None
    return found


def standing_map(loaded: LoadedPlan, cluster: Cluster, comms: Comms) -> CommsPlan:
    """A map directory as the value that it was written from. Of the launcher's order it has the bytes of all parts together.

    Raises PlanError where map.json has not all that this version writes.
    """
    tree = loaded.json
    try:
        tiers, parts, towers = tree["tiers"], tree["parts"], tree["towers"]
        return CommsPlan(
            cluster, comms, loaded.placement, tree["how"], tuple((t["how"], t["score_s"]) for t in tree["tried"]),
            {t["name"]: int(t["cell"]) for t in towers}, {label: part["bytes"] for label, part in parts.items()},
            tree["busiest_s"], {"all parts": {name: t["launcher_bytes"] for name, t in tiers.items()}},
            tree["launcher"]["busiest_s"], tree["launcher"]["keeps_cells"],
            {name: t["lower_bytes"] for name, t in tiers.items()}, {name: t["method"] for name, t in tiers.items()},
            tree["joint_lower_bytes"], {**tree["tower_lower_bytes"], **_wire_bounds(comms, parts)}, tree["no_certificate"],
            tree["hints"],
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise _refuse(
            "damaged", f"{MARK} is of another version, or damaged: it cannot be read at {error}", loaded.path
        ) from None


def _wire_bounds(comms: Comms, parts: Mapping[str, Any]) -> dict[str, Any]:
    return {w.label: parts[w.label]["lower_bytes"] for w in comms.wires}
