# SPDX-License-Identifier: Apache-2.0
import csv
import dataclasses
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import placement
from placement.diag import InputError, PlanError
from placement.ir import PARTS, State
from placement.runtime import COLUMNS, assemble, atomic, content_digest, load_plan, plan_json, rank_rows, write_plan
from placement.runtime.planjob import job_of
from placement.spec.plan_schema import plan_schema
from tests.plans import INPUTS, tiny_cluster, tiny_plan

ROOT = Path(__file__).parents[3]


def files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "plan"


def test_round_trip(out: Path) -> None:
    """What was decided comes back from the directory: strategy, stages, placement, job, inputs, digest."""
    plan = tiny_plan(tied=True, vpp=2)
    digest = write_plan(plan, out, INPUTS)
    loaded = load_plan(out)
    assert loaded.strategy == plan.chosen.strategy
    assert np.array_equal(loaded.placement.gpu_R, plan.chosen.placement.gpu_R)
    assert np.array_equal(loaded.stages.chunk_B, plan.chosen.stages.chunk_B)
    assert loaded.stages.recompute_P == plan.chosen.stages.recompute_P
    assert job_of(loaded.json) == plan.job
    assert dict(loaded.inputs) == INPUTS
    assert digest == loaded.digest == loaded.bin.digest == content_digest(loaded)
    assert placement.load_plan(str(out)).digest == digest


def test_plan_json_follows_its_schema() -> None:
    """plan.json has every property that its schema requires, in the types it says, and no other at the top."""
    tree = plan_json(tiny_plan(tied=True), INPUTS)
    jsonschema.Draft7Validator.check_schema(plan_schema())
    jsonschema.validate(tree, plan_schema())
    assert set(tree) == set(plan_schema()["properties"])


def test_plan_json_contract() -> None:
    """The machine-readable names that other programs rely on."""
    plan = tiny_plan(spares=2)
    tree = plan_json(plan, INPUTS)
    assert (tree["world_size"], tree["spare_gpus"]) == (4, 4)
    degrees = {"tp", "cp", "ep", "etp", "dp", "pp", "vpp", "micro_batch", "num_microbatches", "gtp", "egtp"}
    assert set(tree["strategy"]) == degrees | {"schedule", "recompute", "sharding"}
    assert set(tree["predicted"]["breakdown_s"]) == set(PARTS)
    assert sum(tree["predicted"]["breakdown_s"].values()) == tree["predicted"]["step_time_s"] == 1.0
    assert tree["baseline"]["step_time_s"] == 1.25
    assert tree["bound"] == {"step_time_s": 0.9, "gap": 0.1111111111, "proven": False}
    assert tree["search"]["rejected"] == {"memory": 10, "divisibility": 5}
    assert tree["stages"][0]["chunks"][0]["layers"] == ["embedding", "layer 0", "layer 1"]
    assert tree["stages"][1]["hosts"] == "leaf0000-node01"
    assert tree["spares"]["hosts"] == "leaf0001-node[00-01]"
    assert tree["spares"]["domains_by_spare_gpus"] == {"0": 2, "2": 2}


def test_reserved_hosts_are_told_apart() -> None:
    """Spares that the topology reserves are not spares that the plan left over."""
    spares = plan_json(tiny_plan(tiny_cluster(leafs=3, states={0: State.RESERVED, 1: State.FAILED})))["spares"]
    assert (spares["gpus"], spares["reserved_gpus"], spares["reserved_hosts"]) == (0, 2, "leaf0000-node00")


def test_text_is_canonical(out: Path) -> None:
    """Sorted keys, ten digits, no time, no path; the copies of the inputs are exact."""
    plan = tiny_plan()
    cost = dataclasses.replace(plan.chosen.cost, mfu=1 / 3)
    write_plan(dataclasses.replace(plan, chosen=dataclasses.replace(plan.chosen, cost=cost)), out, INPUTS)
    text = (out / "plan.json").read_text()
    tree = json.loads(text)
    assert text == json.dumps(tree, indent=2, sort_keys=True) + "\n"
    assert tree["predicted"]["mfu"] == 0.3333333333
    assert str(out) not in text
    assert files(out).keys() == {"plan.json", "plan.bin", "inputs/model.yaml", "inputs/topology.yaml"}
    assert (out / "inputs/model.yaml").read_bytes() == INPUTS["model.yaml"]


def test_infinite_numbers_are_our_bug() -> None:
    """NaN and infinity never reach plan.json."""
    plan = tiny_plan()
    search = dataclasses.replace(plan.search, bound_s=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        plan_json(dataclasses.replace(plan, search=search))


def test_same_bytes_for_every_hash_seed(tmp_path: Path) -> None:
    """The order of Python's sets and dicts decides nothing."""
    code = "import sys; from tests.plans import *; from placement.runtime import write_plan\n"
    code += "write_plan(tiny_plan(tied=True), sys.argv[1], INPUTS)"
    found = []
    for seed in ("0", "1", "random"):
        out = tmp_path / seed
        subprocess.run([sys.executable, "-c", code, out], check=True, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed})
        found.append(files(out))
    assert found[0] == found[1] == found[2]


def test_an_existing_plan_is_replaced_whole(out: Path) -> None:
    """No file of the old plan survives, and nothing but the plan is left beside it."""
    write_plan(tiny_plan(), out, INPUTS | {"job.yaml": b""})
    write_plan(tiny_plan(reverse=True), out, INPUTS)
    assert load_plan(out).digest == assemble(tiny_plan(reverse=True), INPUTS).digest
    assert not (out / "inputs/job.yaml").exists()
    assert [p.name for p in out.parent.iterdir()] == ["plan"]


def test_replaced_without_exchange(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system cannot exchange directories, two renames do it."""
    write_plan(tiny_plan(), out, INPUTS)
    monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    write_plan(tiny_plan(reverse=True), out, INPUTS)
    assert load_plan(out).digest == assemble(tiny_plan(reverse=True), INPUTS).digest
    assert [p.name for p in out.parent.iterdir()] == ["plan"]


def test_a_link_stays_a_link(out: Path) -> None:
    """A plan written through a symbolic link lands where the link points."""
    link = out.parent / "link"
    link.symlink_to(out)
    write_plan(tiny_plan(), link, INPUTS)
    write_plan(tiny_plan(reverse=True), link, INPUTS)
    assert link.is_symlink()
    assert load_plan(out).digest == load_plan(link).digest


class Stop:
    """Raises `error` at the n-th call of a system function."""

    def __init__(self, real, error: BaseException, after: int):
        self.real, self.error, self.left = real, error, after

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == -1:
            raise self.error
        return self.real(*args, **kwargs)


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("name", ["fsync", "open"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_stopped_anywhere_nothing_is_half_written(out, monkeypatch, existing, after, name, error) -> None:
    """A full disk or Ctrl-C at any system call leaves the old plan, or the new one, or nothing: never a mixture or litter."""
    before = assemble(tiny_plan(), INPUTS)
    new = assemble(tiny_plan(reverse=True), INPUTS)
    if existing:
        write_plan(before, out)
    monkeypatch.setattr(os, name, Stop(getattr(os, name), error, after))
    stopped = True
    try:
        write_plan(new, out)
        stopped = False
    except (InputError, KeyboardInterrupt) as found:
        reason = repr(found)
    monkeypatch.undo()
    assert not stopped or "plan/disk-full" in reason or "KeyboardInterrupt" in reason
    now = files(out) if out.exists() else {}
    allowed = [dict(new.files)] if not stopped else [dict(new.files), dict(before.files) if existing else {}]
    assert now in allowed
    assert [p.name for p in out.parent.iterdir()] in ([], ["plan"])


def test_a_write_that_really_fails(tmp_path: Path) -> None:
    """When the kernel refuses to write more bytes, the old plan stays and the message says why."""
    code = """
import resource, sys
from placement.diag import InputError
from placement.runtime import write_plan
from tests.plans import INPUTS, tiny_plan
write_plan(tiny_plan(), sys.argv[1], INPUTS)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    write_plan(tiny_plan(reverse=True), sys.argv[1], INPUTS)
except InputError as error:
    print(error.diagnostics[0].name)
"""
    out = tmp_path / "plan"
    done = subprocess.run([sys.executable, "-c", code, out], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "plan/disk-full\n"
    assert files(out) == dict(assemble(tiny_plan(), INPUTS).files)
    assert [p.name for p in tmp_path.iterdir()] == ["plan"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_second_rename_restores_the_first(out, monkeypatch, error) -> None:
    """Without directory exchange, the old plan comes back if the new one cannot take its place."""
    write_plan(tiny_plan(), out, INPUTS)
    old = files(out)
    monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    real, calls = Path.rename, []

    def rename(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises((InputError, KeyboardInterrupt)):
        write_plan(tiny_plan(reverse=True), out, INPUTS)
    assert files(out) == old
    assert [p.name for p in out.parent.iterdir()] == ["plan"]


def test_foreign_directories_are_left_alone(tmp_path: Path) -> None:
    """A directory that holds anything but a plan is never replaced."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"plan/directory-not-empty.*thesis\.tex"):
        write_plan(tiny_plan(), tmp_path, INPUTS)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_inputs_alone_are_not_a_plan(out: Path) -> None:
    """A directory with nothing but `inputs/` is somebody's data."""
    (out / "inputs").mkdir(parents=True)
    with pytest.raises(InputError, match="plan/directory-not-empty"):
        write_plan(tiny_plan(), out, INPUTS)


def test_a_file_in_the_way(out: Path) -> None:
    """An output path that is a file is refused, and the file kept."""
    out.write_text("x")
    with pytest.raises(InputError, match="plan/not-a-directory"):
        write_plan(tiny_plan(), out, INPUTS)
    with pytest.raises(InputError, match="plan/not-writable"):
        write_plan(tiny_plan(), out / "below", INPUTS)
    assert out.read_text() == "x"


def test_unwritable(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that may not be written gives a diagnostic with the path, not a traceback."""
    monkeypatch.setattr(Path, "mkdir", Stop(None, PermissionError(errno.EACCES, "Permission denied"), 0))
    with pytest.raises(InputError, match="permission denied") as found:
        write_plan(tiny_plan(), out, INPUTS)
    assert found.value.diagnostics[0].primary.span.file == str(out)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\\b", "nul\0"])
def test_input_names_stay_inside(out: Path, name: str) -> None:
    """Copies of inputs cannot leave `inputs/`."""
    with pytest.raises(InputError, match="plan/input-name"):
        write_plan(tiny_plan(), out, {name: b""})


DAMAGE = {
    "no plan.json": (lambda d: (d / "plan.json").unlink(), "plan/unreadable"),
    "no plan.bin": (lambda d: (d / "plan.bin").unlink(), "plan/unreadable"),
    "no input": (lambda d: (d / "inputs/model.yaml").unlink(), "plan/unreadable"),
    "empty plan.bin": (lambda d: (d / "plan.bin").write_bytes(b""), "plan/not-a-plan"),
    "text": (lambda d: (d / "plan.json").write_text("hello"), "plan/damaged"),
    "list": (lambda d: (d / "plan.json").write_text("[]"), "plan/damaged"),
    "deep": (lambda d: (d / "plan.json").write_text("[" * 200_000), "plan/damaged"),
    "binary": (lambda d: (d / "plan.json").write_bytes(b"\xff\xfe\x00"), "plan/damaged"),
    "keys": (lambda d: (d / "plan.json").write_text('{"format_version": "1.0"}'), "plan/damaged"),
    "version": (lambda d: edit(d, format_version="2.0"), "plan/version"),
    "other plan": (lambda d: edit(d, digest="0" * 64), "plan/digest-mismatch"),
    "escape": (lambda d: edit(d, inputs={"../../secret": ""}), "plan/input-name"),
    "inputs": (lambda d: edit(d, inputs=["model.yaml"]), "plan/damaged"),
}


@pytest.mark.parametrize("job", [{}, [], {"seq_len": 1}, {"optimizer": {}, "software": {}, "spares": {}, "x": 1}])
def test_a_damaged_job_is_refused(job) -> None:
    """A job that lacks fields, or has unknown ones, is a damaged plan, not a traceback."""
    with pytest.raises(PlanError, match="plan/damaged"):
        job_of({"job": job})


def edit(directory: Path, **changes: object) -> None:
    path = directory / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(("damage", "name"), DAMAGE.values(), ids=list(DAMAGE))
def test_damaged_directories_are_refused(out: Path, damage, name: str) -> None:
    """Every way to break a plan directory gives a diagnostic that names it."""
    write_plan(tiny_plan(), out, INPUTS)
    damage(out)
    with pytest.raises((PlanError, InputError), match=name):
        load_plan(out)


def test_rank_rows(out: Path) -> None:
    """Rows by rank with the columns other programs read, equal to the placement."""
    plan = tiny_plan(reverse=True)
    write_plan(plan, out, INPUTS)
    rows = list(csv.DictReader(io.StringIO("".join(rank_rows(load_plan(out))))))
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:10] == ("rank", "host", "gpu", "rack", "rail", "tp", "cp", "dp", "pp", "ep")
    assert [int(r["rank"]) for r in rows] == list(range(8))
    first = {"host": "leaf0001-node01", "gpu": "1", "rack": "box3", "rail": "1", "tp": "0", "pp": "0", "nic": "mlx5_1"}
    assert first.items() <= rows[0].items()
    assert len({(r["host"], r["gpu"]) for r in rows}) == 8


def test_rank_rows_quote_odd_names(out: Path) -> None:
    """A host name with a comma or a quote stays one CSV field; letters beyond ASCII survive."""
    cluster = tiny_cluster()
    names = np.array(["a,b", 'c"d', "zürich", "plain"])
    write_plan(tiny_plan(dataclasses.replace(cluster, host_N=names)), out, INPUTS)
    rows = list(csv.DictReader(io.StringIO("".join(rank_rows(load_plan(out))))))
    assert [r["host"] for r in rows[::2]] == names.tolist()


@pytest.mark.full
def test_full_size(out: Path) -> None:
    """220,032 ranks on 55,008 nodes fit in 20 MB and come back one row each."""
    plan = tiny_plan(tiny_cluster(leafs=3056, nodes=18, gpus=4), tied=True)
    write_plan(plan, out, INPUTS)
    assert (out / "plan.bin").stat().st_size < 25e6
    loaded = load_plan(out)
    assert np.array_equal(loaded.placement.gpu_R, plan.chosen.placement.gpu_R)
    assert sum(chunk.count("\n") for chunk in rank_rows(loaded)) == 220_033
