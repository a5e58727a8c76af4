# SPDX-License-Identifier: Apache-2.0
# E pair of ranks   Q group   M member
"""Reads communication files. Strategies that are still to be searched come back through `CommsFile.lower`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from placement.diag import Collector, Diagnostic, InputError, Label
from placement.ir import Job, ModelGraph, Strategy, Term, Traffic
from placement.ir._array import Ints
from placement.ir.comms import Comms, Tower, Wires
from placement.spec.comms import BridgeSchema, CommsSchema, GroupSchema, TowerSchema
from placement.spec.csv_pairs import read_pairs
from placement.spec.examples import resolve
from placement.spec.job import load_job
from placement.spec.model import load_model
from placement.spec.source import Document, KeyPath, load, validate
from placement.spec.validate import did_you_mean, finding

KINDS = {"ep": "clique", "pp": "path"}  # every other axis runs rings, as in cost/traffic.py
MOST_RANKS = 1 << 24
MOST_PAIRS = 16_000_000  # of all groups and pairs together: 400 MB of arrays
VALUE_BYTES = 2  # bf16 activations and gradients


@dataclass(frozen=True)
class Ask:
    """A tower that runs a model: its strategy is to be searched."""

    model: ModelGraph
    job: Job


@dataclass(frozen=True)
class CommsFile:
    """A file that was read. `asks`: towers whose strategy is open; `files`: what else was read, name -> bytes."""

    doc: Document
    spec: CommsSchema
    asks: Mapping[str, Ask]
    pairs: Wires | None
    files: Mapping[str, bytes]

    def lower(self, found: Mapping[str, tuple[Strategy, Traffic]]) -> Comms:
        """All communication, with the strategy and traffic of every tower of `asks`. Raises InputError."""
        return _Lowering(self, found).comms()


COMMS, PAIRS = "comms.yaml", "pairs.csv"  # names of the copies in a map directory


def load_comms(path: str, *, copy: bool = False) -> CommsFile:
    """A communication file with everything it names. Raises InputError with every finding of all files.

    `copy`: of a map directory, where models are not read again and pairs stand beside it.
    """
    doc = load(path, "comms")
    spec = validate(doc, CommsSchema)
    found, folder = Collector(), Path(doc.file).parent
    files = {COMMS: doc.text.encode()}
    asks = {}
    for name, tower in spec.towers.items():
        _check_tower(found, doc, name, tower)
        if tower.model is None or copy:
            continue
        if ask := _ask(found, doc, name, tower, folder):
            asks[name] = ask
            files |= _copies(name, tower, folder)
    for i, bridge in enumerate(spec.bridges):
        _check_bridge(found, doc, spec, i, bridge)
    pairs = None
    if spec.pairs_file is not None:
        at = folder / (PAIRS if copy else spec.pairs_file)
        pairs = _gather(found, lambda: read_pairs(at, doc.span(("pairs_file",))))
        if pairs is not None:
            files[PAIRS] = at.read_bytes()
    found.raise_if_errors()
    return CommsFile(doc, spec, asks, pairs, files)


def _gather(found: Collector, read: Any, where: Label | None = None) -> Any:
    """The value that `read` returns, or None with its findings; those without a place get `where`."""
    try:
        return read()
    except InputError as error:
        for d in error.diagnostics:
            found.add(d if d.primary else Diagnostic(d.name, d.message, d.severity, where, d.secondary, d.notes, d.help))
    return None


def _ask(found: Collector, doc: Document, name: str, tower: TowerSchema, folder: Path) -> Ask | None:
    where = Label(doc.key_span(("towers", name)))
    read = _gather(found, lambda: load_model(_beside(folder, str(tower.model))), where)
    if read is None:
        return None
    options = {} if tower.gpus is None else {"max_gpus": tower.gpus}
    file = None if tower.job is None else str(folder / tower.job)
    pins = Label(doc.span(("towers", name, "pins")))
    job = _gather(found, lambda: load_job(file, read[1], dict(tower.pins or {}), **options), pins)
    return None if job is None else Ask(read[0], job)


def _copies(name: str, tower: TowerSchema, folder: Path) -> dict[str, bytes]:
    """The files of a tower, for the record."""
    files = {f"{name}.model.yaml": resolve(_beside(folder, str(tower.model)), "model").read_bytes()}
    return files if tower.job is None else files | {f"{name}.job.yaml": (folder / tower.job).read_bytes()}


def _beside(folder: Path, name: str) -> str:
    """A file beside the communication file, else what other commands understand."""
    here = folder / name
    return str(here) if here.is_file() else name


def _check_tower(found: Collector, doc: Document, name: str, tower: TowerSchema) -> None:
    def report(key: tuple[str, ...], message: str, help: str) -> None:
        found.add(finding(doc, ("towers", name, *key), "tower", message, help=help))

    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        report((), f"`{name}` cannot name a tower", "use letters, digits, `-`, `_` and `.`")
    given = [key for key in ("model", "axes", "ranks") if getattr(tower, key) is not None]
    if len(given) != 1:
        said = " and ".join(f"`{k}`" for k in given) or "none"
        report((), f"a tower has one of `model`, `axes` or `ranks`, and this one has {said}", "write `axes: {tp: 8, dp: 4}`")
    for key, needs in (("job", "model"), ("gpus", "model"), ("bytes", "axes")):
        if getattr(tower, key) is not None and getattr(tower, needs) is None:
            report((key,), f"`{key}` says nothing without `{needs}`", f"remove `{key}`, or give `{needs}`")
    if tower.pins and tower.model is None:
        report(("pins",), "`pins` says nothing without `model`", "write the degrees as `axes`")
    if tower.axes is not None:
        _check_axes(report, tower)


def _check_axes(report: Any, tower: TowerSchema) -> None:
    axes = tower.axes
    assert axes is not None
    stage = axes.tp * axes.cp * axes.dp
    if stage * axes.pp > MOST_RANKS:
        report(("axes",), f"{stage * axes.pp:,} ranks are more than {MOST_RANKS:,}", "are the degrees right?")
    if stage % (axes.ep * axes.etp):
        message = f"expert groups of ep x etp = {axes.ep * axes.etp} do not tile the {stage} ranks of a stage"
        report(("axes",), message, f"ep x etp must divide tp x cp x dp = {stage}")
        return
    sizes = {**axes.model_dump(), "edp": stage // (axes.ep * axes.etp)}
    for axis, sent in (tower.bytes.model_dump() if tower.bytes else {}).items():
        if sent is not None and sizes[axis] == 1:
            report(("bytes", axis), f"`{axis}` has one member, which sends nothing", f"remove it, or give `{axis}` a degree")


def _check_bridge(found: Collector, doc: Document, spec: CommsSchema, i: int, bridge: BridgeSchema) -> None:
    def report(key: KeyPath, message: str, help: str) -> None:
        found.add(finding(doc, ("bridges", i, *key), "bridge", message, help=help))

    for end in ("source", "target"):
        name = getattr(bridge, end)
        if name not in spec.towers:
            report((end,), f"there is no tower `{name}`", did_you_mean(name, spec.towers))
        elif spec.towers[name].ranks is not None:
            report((end,), f"`{name}` has no stages that a bridge could join", "write its traffic as `groups` or `pairs`")
    if bridge.source == bridge.target:
        report(("target",), "a bridge joins two towers", "traffic inside a tower belongs to its axes")
    sized = bridge.hidden is not None or bridge.tokens is not None
    if (bridge.bytes is None) != sized or sized != (bridge.hidden is not None and bridge.tokens is not None):
        report((), "a bridge has either `bytes`, or `hidden` and `tokens`", "write `bytes: 4 TB`")


class _Lowering:
    """The communication of a file whose strategies are all known."""

    def __init__(self, file: CommsFile, found: Mapping[str, tuple[Strategy, Traffic]]) -> None:
        self.file, self.doc, self.found = file, file.doc, Collector()
        self.towers = [_tower(name, tower, found.get(name)) for name, tower in file.spec.towers.items()]
        self.first = dict(zip(file.spec.towers, np.cumsum([0, *(t.ranks for t in self.towers)]).tolist(), strict=False))
        self.world = sum(t.ranks for t in self.towers)
        self.left = MOST_PAIRS

    def comms(self) -> Comms:
        spec = self.file.spec
        bridges = [self._bridge(b) for b in spec.bridges]
        groups = [self._groups(i, g) for i, g in enumerate(spec.groups)]
        wires = [*bridges, *(w for ws, _ in groups for w in ws), *self._pairs()]
        together = tuple(row for _, rows in groups for row in rows)
        self.found.raise_if_errors()
        return Comms(spec.name, tuple(self.towers), tuple(wires), together, spec.hypothetical)

    def _bridge(self, bridge: BridgeSchema) -> Wires:
        """Pairs in proportion to the samples that replicas of both sides share: both cut the batch evenly, in order.

        As Megatron-LM's BridgeCommunicator: a leader of the tp x cp ranks of each replica sends from the last stage to
        leaders in the first stage, gradients take the way back; here replicas of any two numbers may share samples.
        """
        source, target = (next(t for t in self.towers if t.name == n) for n in (bridge.source, bridge.target))
        every = bridge.senders == "all"
        src_A = self.first[source.name] + _ends(source, last=True, every=every)
        dst_B = self.first[target.name] + _ends(target, last=False, every=every)
        total = bridge.bytes if bridge.bytes is not None else float(bridge.hidden or 0) * (bridge.tokens or 0.0) * VALUE_BYTES
        a_E, b_E, share_E = _overlaps(len(src_A), len(dst_B))
        src_E, dst_E, bytes_E = src_A[a_E], dst_B[b_E], share_E * total
        if bridge.backward:
            src_E, dst_E = np.concatenate([src_E, dst_E]), np.concatenate([dst_E, src_E])
            bytes_E = np.concatenate([bytes_E, bytes_E])
        return Wires(f"{source.name} -> {target.name}", "bridge", src_E, dst_E, bytes_E)

    def _groups(self, i: int, group: GroupSchema) -> tuple[list[Wires], list[Ints]]:
        member_M = self._ranks(i, group)
        if member_M is None:
            return [], []
        size, stride = group.size or len(member_M), group.stride
        if len(member_M) % (size * stride):
            message = f"{len(member_M)} ranks cannot be cut into groups of {size} at stride {stride}"
            self._report(i, ("size",), message, "size x stride must divide the number of ranks")
            return [], []
        rows_QM = np.moveaxis(member_M.reshape(-1, size, stride), 1, 2).reshape(-1, size)
        if group.bytes is None and not group.together:
            self._report(i, (), "a group has `bytes`, or is `together`, or both", "write `bytes: 1 GB`")
        together: list[Ints] = [*rows_QM] if group.together and size > 1 else []
        if group.bytes is None or size == 1:
            return [], together
        pairs = len(rows_QM) * size * (size - 1 if group.kind == "all-to-all" else 1)
        self.left -= pairs
        if self.left < 0:
            self._report(i, (), f"{pairs:,} pairs are more than can be held", f"at most {MOST_PAIRS:,} of all groups together")
            return [], together
        return [_wires(f"groups[{i}]", rows_QM, group.kind, group.bytes)], together

    def _ranks(self, i: int, group: GroupSchema) -> Ints | None:
        name, limit, first = group.tower, self.world, 0
        if name is not None:
            if name not in self.first:
                self._report(i, ("tower",), f"there is no tower `{name}`", did_you_mean(name, self.file.spec.towers))
                return None
            limit, first = self.file_ranks(name), self.first[name]
        try:
            member_M = np.concatenate([np.asarray(_span(part), np.int64) for part in group.ranks.split(",")])
        except ValueError:
            self._report(i, ("ranks",), f"`{group.ranks}` is no list of ranks", "write `0-7,16-23`")
            return None
        if int(member_M.max()) >= limit:
            where = f"tower `{name}`" if name else "the job"
            self._report(i, ("ranks",), f"rank {int(member_M.max())} is not among the {limit} of {where}", "ranks count from 0")
            return None
        if len(np.unique(member_M)) != len(member_M):
            self._report(i, ("ranks",), "a rank is named twice", "name each rank once")
            return None
        return member_M + first

    def file_ranks(self, name: str) -> int:
        return next(t.ranks for t in self.towers if t.name == name)

    def _report(self, i: int, key: KeyPath, message: str, help: str) -> None:
        self.found.add(finding(self.doc, ("groups", i, *key), "group", message, help=help))

    def _pairs(self) -> list[Wires]:
        inline = self.file.spec.pairs
        parts = [] if self.file.pairs is None else [self.file.pairs]
        if inline:
            source, target = (np.array([getattr(p, key) for p in inline], np.int64) for key in ("source", "target"))
            parts.append(Wires("pairs", "pairs", source, target, np.array([p.bytes for p in inline])))
        for part in parts:
            top = int(max(part.src_E.max(initial=0), part.dst_E.max(initial=0)))
            if top >= self.world:
                key = "pairs_file" if part is self.file.pairs else "pairs"
                help = "ranks are numbered tower after tower, from 0"
                message = f"rank {top} is not among the {self.world} of the job"
                self.found.add(finding(self.doc, (key,), "pair", message, help=help))
        return parts


def _span(text: str) -> range | Ints:
    """`7` or `0-7`."""
    low, dash, high = text.strip().partition("-")
    first, last = int(low), int(high) if dash else int(low)
    if not 0 <= first <= last < MOST_RANKS:
        raise ValueError(text)
    return range(first, last + 1)


def _tower(name: str, tower: TowerSchema, found: tuple[Strategy, Traffic] | None) -> Tower:
    if tower.ranks is not None:
        return Tower(name, tower.ranks, None, Traffic(()), "ranks")
    if found is not None:
        return Tower(name, found[0].world_size, *found, str(tower.model))
    assert tower.axes is not None
    axes = tower.axes
    strategy = Strategy(
        **axes.model_dump(), vpp=1, micro_batch=1, num_microbatches=axes.pp, schedule="1f1b", recompute="none", sharding="zero1"
    )
    sent = {} if tower.bytes is None else tower.bytes.model_dump()
    terms = [Term(a, KINDS.get(a, "ring"), _by_stage(a, b, axes.pp)) for a, b in sent.items() if b is not None]
    return Tower(name, strategy.world_size, strategy, Traffic(tuple(terms)), "axes")


def _by_stage(axis: str, sent: float, stages: int) -> Any:
    """The same of every stage; the last one has no next."""
    out = np.full(stages, sent)
    if axis == "pp":
        out[-1] = 0.0
    return out


def _ends(tower: Tower, *, last: bool, every: bool) -> Ints:
    """Ranks of a tower that a bridge joins, in order of their samples: of its last or first stage, all or replica leaders."""
    s = tower.strategy
    assert s is not None
    first = (s.pp - 1) * s.stage_ranks if last else 0
    return first + np.arange(0, s.stage_ranks, 1 if every else s.tp * s.cp)


def _overlaps(a: int, b: int) -> tuple[Ints, Ints, Any]:
    """Two even cuts of one interval into `a` and `b` parts: (part, part, share of the whole) of each overlap."""
    marks = np.unique(np.concatenate([np.arange(a + 1) * b, np.arange(b + 1) * a]))
    return marks[:-1] // b, marks[:-1] // a, np.diff(marks) / (a * b)


def _wires(label: str, rows_QM: Ints, kind: str, sent: float) -> Wires:
    size = rows_QM.shape[1]
    steps = range(1, size) if kind == "all-to-all" else (1,)
    src = np.concatenate([rows_QM.ravel() for _ in steps])
    dst = np.concatenate([np.roll(rows_QM, -k, axis=1).ravel() for k in steps])
    return Wires(label, "groups", src, dst, np.full(len(src), sent / len(steps)), rows_QM)


__all__ = ["Ask", "CommsFile", "load_comms"]
