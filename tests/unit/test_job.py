# SPDX-License-Identifier: Apache-2.0
"""Job files: defaults of the model, then the file, then the command line; every mistake has a message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placement.diag import InputError
from placement.ir import DEGREES, Job, Optimizer, Software, Spares
from placement.spec import load_job
from placement.spec.job import check_defaults
from placement.spec.source import parse

MODEL = {"sequence_length": "8192", "global_batch": "24576", "precision": "mxfp8"}


@pytest.fixture
def job_file(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_defaults_of_the_model() -> None:
    """Without a job file the model's `job:` block is the job."""
    assert load_job(None, MODEL, {}) == Job(seq_len=8192, global_batch=24_576, precision="mxfp8")


def test_everything_a_job_may_say(job_file: Any) -> None:
    """Each key of a job file reaches its field; formats become bytes per parameter."""
    path = job_file("""
precision: nvfp4
optimizer: {name: muon, master: none, moments: bf16, gradients: bf16, reduce: fp8, gather: fp8}
software: {stack: torchtitan, year: 2025.5, ep_overlap: true}
gpus: 4096
spares: {policy: racks, count: 2}
pins: {tp: 8, schedule: 1f1b}
schedules: [1f1b, zb-h1]
recompute: [none, full]
sharding: [fsdp]
memory_margin: 10 %
ragged: allow
expert_imbalance: 1.2
objective: step_time
effort: 3
seed: 7
calibration: mine.yaml
""")
    assert load_job(path, MODEL, {}) == Job(
        seq_len=8192, global_batch=24_576, precision="nvfp4",
        optimizer=Optimizer("muon", master_bytes=0, moment_bytes=2, grad_bytes=2, grad_reduce_bytes=1, param_gather_bytes=1),
        software=Software("torchtitan", 2025.5, ep_overlap=True), max_gpus=4096, spares=Spares("racks", 2),
        pins={"tp": 8, "schedule": "1f1b"}, schedules=("1f1b", "zb-h1"), recompute=("none", "full"), sharding=("fsdp",),
        memory_margin=0.1, ragged=True, expert_imbalance=1.2, effort=3, seed=7,
        calibration=str(Path(path).parent / "mine.yaml"),
    )  # fmt: skip


def test_later_sources_win(job_file: Any) -> None:
    """File over model, command line over file; keys of a nested mapping that the file leaves out stay."""
    defaults = MODEL | {"effort": "1", "software": {"stack": "mlperf", "year": "2025"}}
    job = load_job(job_file("effort: 3\nsoftware: {year: 2026}\n"), defaults, {}, seed=5, max_gpus=64, spares=Spares("none"))
    assert (job.effort, job.seed, job.max_gpus, job.spares) == (3, 5, 64, Spares("none"))
    assert job.software == Software("mlperf", 2026)


def test_words_for_all_and_none(job_file: Any) -> None:
    """`gpus: all` lifts a default limit; spares may be left to the search or forbidden."""
    job = load_job(job_file("gpus: all\nspares: none\n"), MODEL | {"gpus": "8"}, {})
    assert (job.max_gpus, job.spares) == (None, Spares("none"))


def test_pins_of_the_command_line(job_file: Any) -> None:
    """Pins of file and command line add up; the same value twice is no contradiction."""
    job = load_job(job_file("pins: {tp: 8}\n"), MODEL, {"tp": "8", "pp": "16", "recompute": "full"})
    assert job.pins == {"tp": 8, "pp": 16, "recompute": "full"}


def messages(path: str | None, defaults: dict[str, Any] | None, pins: dict[str, str]) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_job(path, defaults, pins)
    return [
        f"{d.name}: {d.message} @{f'{d.primary.span.line}:{d.primary.span.column}' if d.primary else '-'} | {d.help}"
        for d in caught.value.diagnostics
    ]


# what a careless author writes in a job file
MISTAKES = [
    "effrt: 1\n",
    "effort: 7\n",
    "precision: fp9\n",
    "gpus: -3\nglobal_batch: 0\n",
    "spares: {policy: racks}\n",
    "schedules: []\n",
    "schedules: [gpipe]\n",
    "memory_margin: 120 %\n",
    "ragged: yes\n",
    "pins: {tpp: 8}\n",
    "pins: {mbs: 2}\n",
    "pins: {tp: 0}\n",
    "pins: {tp: many}\n",
    "pins: {schedule: gpipe}\n",
    "pins: {dp: 7}\n",
    "pins: {dp: 4096, micro_batch: 12}\n",
    "pins: {schedule: 1f1b, vpp: 2}\n",
    "pins: {schedule: 1f1b}\nschedules: [zb-v]\n",
    "pins: {tp: 2, cp: 1, dp: 4, ep: 3}\n",
    "pins: {dp: 8, gtp: 3}\n",
]


def test_mistakes(job_file: Any, golden: Callable[[str, str], None]) -> None:
    """Each mistake says what is wrong, where, and what to write; nothing else goes wrong beside it."""
    out = [f"## {text.strip()}\n" + "\n".join(messages(job_file(text), MODEL, {})) + "\n" for text in MISTAKES]
    golden("job_mistakes.txt", "\n".join(out))


def test_pinned_twice(job_file: Any) -> None:
    """File and command line must agree on a pin."""
    assert messages(job_file("pins: {tp: 8}\n"), MODEL, {"tp": "4"}) == [
        "job/pin-contradiction: `tp` is pinned to 8 in the job file and to 4 on the command line @1:12 | keep one of the two"
    ]


def test_bad_pins_of_the_command_line() -> None:
    """Pins of the command line have no place, but the same messages."""
    axes = ", ".join(f"`{a}`" for a in sorted((*DEGREES, "recompute", "schedule", "sharding")))
    assert messages(None, MODEL, {"pq": "2", "tp": "-1"}) == [
        f"job/pin-axis: `pq` is not an axis that can be pinned, but the command line does @- | known: {axes}",
        "job/pin-value: `tp` is pinned to -1 by the command line @- | a degree is between 1 and 10,000,000",
    ]


def test_a_job_needs_its_batch(job_file: Any) -> None:
    """Sequence length and batch must come from somewhere."""
    (message,) = messages(job_file("precision: fp8\n"), {"sequence_length": "10"}, {})
    assert message.split(" | ") == [
        "job/missing-key: the job has no global_batch, and the model gives no default @1:1",
        "add `global_batch: 1024` to the job file",
    ]
    assert [m.split(" @")[0] for m in messages(None, {}, {})] == [
        "job/missing-key: the job has no sequence_length, and the model gives no default",
        "job/missing-key: the job has no global_batch, and the model gives no default",
    ]


def test_an_unreadable_model_is_one_error(job_file: Any) -> None:
    """Where the model could not be read, what it might have given is not called missing; other mistakes still are."""
    assert messages(job_file("effort: 1\n"), None, {}) == []
    assert messages(job_file("effort: 9\n"), None, {}) == ["job/out-of-range: `effort` must be at most 3, found 9 @1:9 | "]
    assert load_job(job_file("sequence_length: 8\nglobal_batch: 2\n"), None, {}).seq_len == 8


def test_defaults_of_a_model_are_checked_in_its_file() -> None:
    """Mistakes in a `job:` block are told without a place by `load_job`, and at their place by `check_defaults`."""
    assert messages(None, MODEL | {"efort": "1"}, {}) == [
        "job/unknown-key: unknown key `efort`, in the `job:` block of the model @- | did you mean `effort`?"
    ]
    doc = parse("name: x\njob:\n  efort: 1\n", "m.yaml", "model")
    (finding,) = check_defaults(doc)
    assert finding.primary is not None
    assert (finding.name, str(finding.primary.span)) == ("model/unknown-key", "m.yaml:3:3")
