# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.calculon CALCULON RUNS`: the same A100 runs through Calculon and through ours, in one process.

CALCULON is a checkout of github.com/calculon-ai/calculon (`git clone`, commit caa4b11 of 2024-02; it needs numpy and psutil);
RUNS a file of measured runs. Compared are the runs of plain GPT on A100 in RUNS, and the eight runs that Calculon was made
for. Nothing of Calculon is copied: its model, its A100 system and its descriptions of those eight are read at run time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
# seconds of a step, Korthikanti et al. 2022 (arXiv 2205.05198), table 5: full recompute; sequence parallel and selective
TABLE_5 = {
    "megatron-22B": (1.42, 1.10), "gpt3-175B": (18.13, 13.75), "turing-530B": (49.05, 37.83), "megatron-1T": (94.42, 71.49),
}  # fmt: skip


INTRO = """\
<!-- written by `python -m benchmarks.calculon CALCULON RUNS`; not edited by hand -->
# Beside Calculon

[Calculon](https://github.com/calculon-ai/calculon) is the public analytic model with the best accuracy claim that can be
checked (3.65 % mean, 8.87 % at most, on eight A100 runs). Both price the same runs here, in the same process. Calculon knows
GPT without embedding and head, so of the collection it can express only these.
"""
SPEED = """\
## Speed

Runs in a processor second:

- one after the other: Calculon {theirs:,.0f}; ours {ours:,.0f}, every pipeline simulated event by event
- ours together, pipelines in closed form, as the fit prices them: {many:,.0f}; the search scores faster (RESULTS.md)
"""


@dataclass(frozen=True)
class Row:
    """One run: measured, Calculon's and our seconds; None where Calculon finds it infeasible."""

    name: str
    measured_s: float
    calculon_s: float | None
    ours_s: float


@dataclass(frozen=True)
class Peer:
    """Calculon's model on its own A100 system."""

    llm: Any
    system: Any

    def seconds(self, app: dict[str, Any], exe: dict[str, Any]) -> float | None:
        """Its prediction of one step."""
        model = self.llm.Llm(self.llm.Llm.Application(app), logging.getLogger("calculon"))
        try:
            model.compile(self.system, self.llm.Llm.Execution.from_json(exe))
            model.run(self.system)
        except self.llm.Llm.Error:
            return None
        return float(model.get_stats_json(False)["total_time"])


def peer(checkout: Path) -> Peer:
    """Imports Calculon from its checkout."""
    sys.path.insert(0, str(checkout))
    llm, calculon = importlib.import_module("calculon.llm"), importlib.import_module("calculon")
    return Peer(llm, calculon.System(_json(checkout / "systems" / "a100_80g.json")))


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _app(spec: dict[str, Any]) -> dict[str, Any]:
    """A model as Calculon describes one."""
    heads = int(spec["heads"])
    return {
        "hidden": spec["hidden"], "feedforward": spec["ffn"], "seq_size": spec["seq_len"], "attn_heads": heads,
        "attn_size": spec["hidden"] // heads, "num_blocks": spec["layers"],
    }  # fmt: skip


def _exe(strategy: Any, batch: int) -> dict[str, Any]:
    """A strategy of Megatron of 2021 as Calculon describes one; microbatches as we assume them."""
    return {
        "num_procs": strategy.world_size, "tensor_par": strategy.tp, "pipeline_par": strategy.pp, "data_par": strategy.dp,
        "tensor_par_net": 0, "pipeline_par_net": 1, "data_par_net": 1, "batch_size": batch,
        "microbatch_size": strategy.micro_batch, "datatype": "float16", "fused_activation": False,
        "attention_type": "multihead", "activation_recompute": "full", "pipeline_interleaving": strategy.vpp,
        "optimizer_sharding": False, "tensor_par_comm_type": "ar", "tensor_par_overlap": "none", "seq_par_ag_redo": False,
        "data_par_overlap": False, "weight_offload": False, "activations_offload": False, "optimizer_offload": False,
        "training": True,
    }  # fmt: skip


def plain_gpt(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Runs that Calculon can express: GPT with degrees, on its A100-80GB, by Megatron."""
    return [
        row["id"] for row in rows
        if row["hardware"] == "A100-80GB" and not row["fsdp"] and row["tp"] and row["pp"]
        and not row["model"]["gated_mlp"] and row["model"]["kv_heads"] == row["model"]["heads"]
    ]  # fmt: skip


def published(calculon: Peer, path: Path) -> list[Row]:
    """The GPT runs of the collection, each by constants that were fitted without its (model, hardware) pair."""
    import yaml

    from placement.spec.runs import load_runs

    raw = {row["id"]: row for row in yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)}
    chosen, runs = set(plain_gpt(list(raw.values()))), load_runs(path)
    ours = left_out(runs, chosen)
    out = []
    for run in runs:
        if run.id in ours and run.strategy and run.job and run.measured_step_s:
            theirs = calculon.seconds(_app(raw[run.id]["model"]), _exe(run.strategy, run.job.global_batch))
            out.append(Row(run.id, run.measured_step_s, theirs, ours[run.id]))
    return out


def left_out(runs: Sequence[Any], chosen: set[str]) -> dict[str, float]:
    """Our seconds for the chosen runs, pair by pair, by fits that never saw the pair."""
    from placement.passes.batch import batch_of, predict
    from placement.passes.calibrate import fit, usable, weights, with_simulation
    from placement.spec.catalog import efficiency, priors

    used, start = usable(runs), efficiency()
    batch, weight_R = with_simulation(batch_of(used), start), weights(used)
    out: dict[str, float] = {}
    for pair in dict.fromkeys(r.pair for r in used if r.id in chosen):
        held = np.array([r.pair == pair for r in used])
        eff, _ = fit(batch, priors(), np.where(held, 0.0, weight_R), start, steps=8)
        steps_s = predict(batch, eff)
        out |= {used[i].id: float(steps_s[i]) for i in np.flatnonzero(held).tolist() if used[i].id in chosen}
    return out


def own_eight(calculon: Peer, checkout: Path) -> list[Row]:
    """Calculon's eight validation runs; ours with the constants of the catalogue, which were not fitted to them."""
    from placement.passes.predict import predict_run
    from placement.spec.catalog import efficiency

    out = []
    for model, times in TABLE_5.items():
        app = _json(checkout / "models" / f"{model}.json")
        for mode, measured_s in zip(("full", "seqsel"), times, strict=True):
            exe = _json(checkout / "validation" / "seqsel" / "tab5" / f"{model}_{mode}.json")
            run = our_run(model, mode, app, exe)
            out.append(Row(f"{model} {mode}", measured_s, calculon.seconds(app, exe), predict_run(run, efficiency()).step_s))
    return out


def our_run(model: str, mode: str, app: dict[str, Any], exe: dict[str, Any]) -> Any:
    """A run of Calculon as a row of measured runs; the vocabulary is Megatron's 51,200."""
    from placement.spec.runs import read_run

    return read_run({
        "id": f"{model}-{mode}", "hardware": "A100-80GB", "software": "Megatron-LM", "software_date": "2022-05",
        "n_gpus": exe["num_procs"], "tp": exe["tensor_par"], "pp": exe["pipeline_par"], "vpp": exe["pipeline_interleaving"],
        "gbs": exe["batch_size"], "mbs": exe["microbatch_size"], "precision": "bf16",
        "recompute": "full" if mode == "full" else "selective",
        "model": {
            "key": model, "kind": "dense", "layers": app["num_blocks"], "hidden": app["hidden"], "ffn": app["feedforward"],
            "heads": app["attn_heads"], "head_dim": app["attn_size"], "vocab": 51200, "seq_len": app["seq_size"],
            "gated_mlp": False, "tied_embeddings": True,
        },
    }, 0)  # fmt: skip


def rates(calculon: Peer, checkout: Path) -> tuple[float, float]:
    """Runs that each model prices in a processor second, one at a time and event by event: Calculon, ours."""
    from placement.passes.predict import predict_run
    from placement.spec.catalog import efficiency

    cases = [
        (_json(checkout / "models" / f"{m}.json"), _json(checkout / "validation" / "seqsel" / "tab5" / f"{m}_full.json"))
        for m in TABLE_5
    ]
    runs = [our_run("x", "full", app, exe) for app, exe in cases]
    eff = efficiency()
    return (
        _rate(lambda: [calculon.seconds(app, exe) for app, exe in cases], len(cases)),
        _rate(lambda: [predict_run(run, eff) for run in runs], len(cases)),
    )


def together(path: Path) -> float:
    """Runs that ours prices in a processor second when they are priced together, as the search and the fit do."""
    from placement.passes.batch import batch_of, predict
    from placement.passes.calibrate import usable
    from placement.spec.catalog import efficiency
    from placement.spec.runs import load_runs

    batch, eff = batch_of(usable(load_runs(path))), efficiency()
    return _rate(lambda: predict(batch, eff), len(batch.runs))


def _rate(work: Callable[[], object], size: int) -> float:
    work()
    start = time.process_time()
    for _ in range(5):
        work()
    return 5 * size / (time.process_time() - start)


def markdown(title: str, rows: Sequence[Row]) -> str:
    """A table of runs, and the errors over those that both price."""
    both = [r for r in rows if r.calculon_s is not None]
    lines = [f"## {title}", "", "| run | measured | Calculon | ours |", "|---|--:|--:|--:|"]
    lines += [f"| {r.name} | {r.measured_s:.2f} s | {_cell(r.calculon_s, r)} | {_cell(r.ours_s, r)} |" for r in rows]
    for name, pick in (("mean", np.mean), ("largest", np.max)):
        theirs, ours = (float(pick([abs(getattr(r, k) / r.measured_s - 1.0) for r in both])) for k in ("calculon_s", "ours_s"))
        lines.append(f"| **{name} error** | | {theirs:.1%} | {ours:.1%} |")
    return "\n".join([*lines, ""])


def _cell(seconds: float | None, row: Row) -> str:
    return "refused" if seconds is None else f"{seconds:.2f} s ({seconds / row.measured_s - 1.0:+.1%})"


def main() -> None:
    """Writes the comparison beside this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calculon", description=__doc__)
    parser.add_argument("calculon", type=Path, help="a checkout of github.com/calculon-ai/calculon")
    parser.add_argument("runs", type=Path, help="measured runs (YAML)")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "CALCULON.md")
    args = parser.parse_args()
    calculon = peer(args.calculon)
    theirs, ours = rates(calculon, args.calculon)
    many = together(args.runs)
    parts = [
        INTRO,
        markdown("Megatron on A100, 2021: ours without the run's model in the fit", published(calculon, args.runs)),
        markdown("The eight runs that Calculon was made for: ours never saw them", own_eight(calculon, args.calculon)),
        SPEED.format(theirs=theirs, ours=ours, many=many),
    ]
    args.out.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
