# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.gpu OUT --topology h100-4`: plan, measure and compare on the GPUs of this host, in one call.

The parts can run apart (`--only plan`, `micro`, `nccl`, `train`): planning needs no GPU, measuring needs no more of the
project's packages than numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("plan", "micro", "nccl", "train")


def call(words: Sequence[str | Path], timeout_s: float, **more: str) -> int:
    """Runs a program of the measurement; its exit code, 124 after a time-out."""
    print("+", *words, flush=True)
    try:
        return subprocess.run(
            [str(w) for w in words], cwd=ROOT, env=os.environ | more, check=False, timeout=timeout_s
        ).returncode
    except subprocess.TimeoutExpired:
        return 124


def build(out: Path) -> None:
    """placement-exec, and where there is a CUDA compiler the NCCL example."""
    sources, example = ROOT / "placement" / "runtime", ROOT / "examples" / "runtime" / "nccl_step.c"
    call(["cc", "-std=c11", "-O2", "-o", out / "placement-exec", sources / "placement_exec.c"], 60)
    cuda, nccl = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")), nccl_home()
    paths = [f"-I{sources}", f"-I{cuda}/include", f"-I{nccl}/include"]
    libraries = [f"-L{cuda}/lib64", "-lcudart", f"-L{nccl}/lib", "-l:libnccl.so.2", f"-Wl,-rpath,{nccl}/lib:{cuda}/lib64"]
    call(["cc", "-std=c11", "-O2", *paths, example, "-o", out / "nccl_step", *libraries], 120)


def nccl_home() -> Path:
    """NCCL as PyTorch's wheels bring it, else that of the system."""
    found = [p / "nvidia" / "nccl" for p in map(Path, sys.path) if (p / "nvidia" / "nccl" / "include" / "nccl.h").exists()]
    return found[0] if found else Path("/usr")


def plans_of(out: Path) -> list[Path]:
    """All plan directories, model by model; zero-bubble schedules last, since they are the likeliest to fail."""
    found = (p.parent for p in out.glob("plans/*/*/plan.bin"))
    return sorted(found, key=lambda p: (p.parent.name, "zb" in p.name, p.name))


def launched(out: Path, first: Path, *words: str | Path) -> list[str | Path]:
    """A program started by placement-exec as every rank of this host."""
    return [out / "placement-exec", "--host", "host0", "--all-local", "--master-addr", "127.0.0.1", first, *words]


def main() -> int:
    """Runs the parts in order."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--topology", default="h100-4", help="one host called host0")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--match", default="", help="plans whose path has this in it")
    parser.add_argument("--limit", type=float, default=3000, help="seconds for the training of all plans")
    args = parser.parse_args()
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if "plan" in args.only:
        call([sys.executable, "-m", "benchmarks.gpu.cases", args.topology, out / "plans"], 600)
    plans = [p for p in plans_of(out) if args.match in str(p)]
    build(out)
    if "micro" in args.only:
        call(launched(out, plans[0], sys.executable, "-m", "benchmarks.gpu.micro", out), 600)
    if "nccl" in args.only:
        for plan in plans[:: max(1, len(plans) // 6)]:
            (out / "id").unlink(missing_ok=True)
            call(launched(out, plan, out / "nccl_step", plan / "plan.bin", out / "id"), 120)
    if "train" in args.only:
        train(out, plans, time.monotonic() + args.limit)
    return 0


def train(out: Path, plans: list[Path], end: float) -> None:
    """Every plan once; a plan that fails is written down as such, and the rest goes on in new processes."""
    results = out / "steps.jsonl"
    while (left := [p for p in plans if p not in done(results, out)]) and time.monotonic() < end:
        words: list[str | Path] = [sys.executable, "-m", "benchmarks.gpu.train", results, *left]
        code = call(launched(out, left[0], *words), max(1.0, end - time.monotonic()))
        left = [p for p in left if p not in done(results, out)]
        if code and left and time.monotonic() < end:
            failed = {"model": left[0].parent.name, "case": left[0].name, "error": f"exit code {code}"}
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(failed) + "\n")


def done(results: Path, out: Path) -> set[Path]:
    """Plans that have a line in the results."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return {out / "plans" / row["model"] / row["case"] for row in map(json.loads, lines)}


if __name__ == "__main__":
    sys.exit(main())
