# SPDX-License-Identifier: Apache-2.0
"""The plan directory: written whole or not at all, read with every checksum looked at."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from placement.diag import Diagnostic, InputError, Label, PlanError, Span
from placement.ir import RECOMPUTE, Placement, Plan, Stages, Strategy
from placement.runtime import tables
from placement.runtime.atomic import replace_directory
from placement.runtime.layout import Section
from placement.runtime.planbin import PlanBin, pack, plan_digest, unpack
from placement.runtime.planjson import FORMAT_VERSION, dump, joined, parts, plan_dict, stable, strategy_of

PLAN_FILES = ("plan.json", "plan.bin", "inputs", "moves.json", "moves.csv", "superseded.json")
_MAX_JSON_BYTES = 256 << 20


@dataclass(frozen=True)
class LoadedPlan:
    """A plan directory that was read. `json` is plan.json; `bin` has the mapped tables; `inputs` the copies of the inputs."""

    path: Path
    json: Mapping[str, Any]
    bin: PlanBin
    inputs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        return str(self.json["digest"])

    @cached_property
    def strategy(self) -> Strategy:
        return strategy_of(self.json)

    @cached_property
    def placement(self) -> Placement:
        return Placement(self.bin[Section.RANKS]["gpu"].astype(np.int64))

    @cached_property
    def stages(self) -> Stages:
        mode_P = tuple(RECOMPUTE[i] for i in self.bin[Section.STAGES]["recompute"])
        return Stages(self.bin[Section.LAYERS]["chunk"].astype(np.int64), mode_P)


@dataclass(frozen=True)
class Bundle:
    """The files of a plan directory, ready to be written: name -> bytes, and `json` as a value."""

    json: Mapping[str, Any]
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        return str(self.json["digest"])


def assemble(plan: Plan, inputs: Mapping[str, bytes]) -> Bundle:
    """All bytes of the plan directory. `inputs`: file name -> content of every file that the plan was made from.

    The digest covers plan.json (all but `digest` and `files`) and the tables of plan.bin; it is stamped in both files.
    """
    sections = tables.tables(plan)
    flags = tables.flags(plan.cluster, sections)
    tree = stable(plan_dict(plan, inputs, flags))
    text = parts(tree)
    digest = plan_digest(joined(text), sections)
    binary = pack(sections, digest=digest, flags=flags, counts=tables.counts(plan.cluster, sections))
    stamps = {"digest": digest.hex(), "files": {"plan.bin": {"bytes": len(binary), "sha256": sha256(binary).hexdigest()}}}
    tree |= stamps
    copies = {f"inputs/{_plain(name)}": data for name, data in inputs.items()}
    return Bundle(tree, {"plan.json": joined(text | parts(stamps)).encode(), "plan.bin": binary, **copies})


def plan_json(plan: Plan, inputs: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """plan.json as a value, also what `placement plan --format json` prints."""
    return dict(assemble(plan, inputs or {}).json)


def write_plan(plan: Plan | Bundle, out: Path, inputs: Mapping[str, bytes] | None = None) -> str:
    """Write the plan directory atomically and return its digest. A plan that is already there is replaced whole.

    Raises InputError where `out` cannot be written; then, and after Ctrl-C, whatever was at `out` is untouched.
    """
    bundle = plan if isinstance(plan, Bundle) else assemble(plan, inputs or {})
    replace_directory(Path(out), bundle.files, PLAN_FILES)
    return bundle.digest


def load_plan(path: Path | str) -> LoadedPlan:
    """Read a plan directory. Raises PlanError if it is missing, damaged, or its parts do not belong together."""
    path = Path(path)
    if (path / "map.json").is_file() and not (path / "plan.json").is_file():
        readers = "show, why, diff, report, repair, verify and export read maps too"
        raise _refuse("towers", "this is a map of several towers, and the command reads plans of one strategy", path, readers)
    tree = _read_json(path / "plan.json")
    plan_bin = open_binary(path / "plan.bin")
    if plan_bin.digest != tree["digest"]:
        message = f"plan.bin has digest {plan_bin.digest[:12]} and plan.json {str(tree['digest'])[:12]}"
        raise _refuse("digest-mismatch", message, path, "the two files are of different plans: write the plan again")
    inputs = {name: _read(path / "inputs" / _plain(name)) for name in sorted(tree["inputs"])}
    return LoadedPlan(path, tree, plan_bin, inputs)


def open_binary(path: Path) -> PlanBin:
    """A plan.bin, every checksum looked at. Raises PlanError."""
    return unpack(_map(path), str(path))


def content_digest(loaded: LoadedPlan) -> str:
    """The plan digest, computed again from what was read."""
    tree = {k: v for k, v in loaded.json.items() if k not in ("digest", "files")}
    return plan_digest(dump(tree), loaded.bin.sections).hex()


def _read_json(path: Path) -> dict[str, Any]:
    text = _read(path, _MAX_JSON_BYTES)
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refuse("damaged", f"plan.json is not JSON: {error}", path) from None
    keys = ("format_version", "digest", "inputs", "strategy")
    if not isinstance(tree, dict) or not all(key in tree for key in keys) or not isinstance(tree["inputs"], dict):
        raise _refuse("damaged", f"plan.json lacks one of {', '.join(keys)}", path)
    if str(tree["format_version"]).split(".")[0] != FORMAT_VERSION.split(".")[0]:
        message = f"plan.json has format version {tree['format_version']}, not {FORMAT_VERSION.split('.')[0]}.x"
        raise _refuse("version", message, path, "read it with the version of this tool that wrote it")
    return tree


def _read(path: Path, limit: int = 64 << 20) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise _refuse("unreadable", f"cannot read the file: {error.strerror}", path, "is it a plan directory?") from None
    if len(data) > limit:
        raise _refuse("damaged", f"the file is larger than {limit} bytes", path)
    return data


def _map(path: Path) -> mmap.mmap | bytes:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        return b""  # mmap refuses empty files; `unpack` says what is wrong with them
    except OSError as error:
        raise _refuse("unreadable", f"cannot read the file: {error.strerror}", path, "is it a plan directory?") from None


def _plain(name: str) -> str:
    """A file name without a path: nothing may be written or read outside `inputs/`."""
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise InputError([Diagnostic("plan/input-name", f"`{name}` is not a plain file name")])
    return name


def _refuse(name: str, message: str, path: Path, fix: str = "write the plan again with `placement plan`") -> PlanError:
    return PlanError([Diagnostic(f"plan/{name}", message, primary=Label(Span(str(path))), help=fix)])
