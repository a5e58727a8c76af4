# SPDX-License-Identifier: Apache-2.0
# I point   P constant
"""Calibration to a user's own cluster: constants near the catalogue's that fit its collectives, matmuls and steps.

Three small fits, each of the constants that its measurements can tell apart. All start from the constants that are in force and
stay near them: a handful of measurements moves what they speak of and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from placement.cost import collectives as net
from placement.cost.context import MATMULS, SPEED_LIMIT, WEIGHT_BYTES, generation_of, relative_power
from placement.cost.hardware import Hardware
from placement.ir import CollectivePoint, Efficiency, MatmulPoint, Prior, Run
from placement.ir._array import Floats
from placement.passes.batch import batch_of, predict
from placement.passes.calibrate import covariance, descend, usable, with_simulation
from placement.passes.predict import predict_run

FEW_PERCENT = 0.05  # how well nccl-tests and matmul sweeps repeat, logarithm
STEP_NOISE = 0.05  # how well one step tells of others: runs of a pair differ by that from each other, logarithm
MOVED = 0.01  # relative: constants that moved less are not told
CLOSE = 0.15  # of the widths of the priors: dozens of published pairs know more than a few steps of one cluster
OPEN = 1.0  # the same of constants of routed layers, of which three published models know little
ROUTED = ("grouped", "permute", "cast_moe", "launch_moe", "host_", "ep_", "drift_moe", "fused_moe", "misaligned",
          "air_moe", "router")  # fmt: skip
COMMON = 0.06  # all GPUs of a cluster run faster or slower together (power, cooling, clocks), logarithm
HOST = {"empty_step": "step_s", "dense_layer": "host_dense_s", "routing": "host_moe_s", "expert": "host_expert_s",
        "fsdp_hooks": "host_fsdp_s"}  # fmt: skip
STACKS = ("step_mlperf", "step_torch")  # an empty step of other stacks, relative
RATES = ("matmul_", "attention_ampere", "attention_hopper", "attention_blackwell")
NETWORK = {
    "nvlink_ring": 0.3, "nvlink_a2a": 0.3, "nvls_hopper": 0.3, "nvls_blackwell": 0.3, "nic_ring": 0.5, "nic_a2a": 0.5,
    "ring_nics": 0.5, "collective_start_s": 0.7, "hop_s": 0.7, "domain_hop_s": 0.7,
}  # fmt: skip


def fit_collectives(points: Sequence[CollectivePoint], hw: Hardware, eff: Efficiency) -> Efficiency:
    """Bandwidths and latencies of collectives from nccl-tests."""
    if not points:
        return eff
    measured = np.log([p.seconds for p in points])
    return _near(eff, NETWORK, lambda e: (np.log(collective_s(points, hw, e)) - measured) / FEW_PERCENT)


def collective_s(points: Sequence[CollectivePoint], hw: Hardware, eff: Efficiency) -> Floats:
    """Predicted seconds of nccl-tests points, ranks in order on full NVLink domains."""
    return np.array([_point_s(p, hw, eff) for p in points])


def _point_s(p: CollectivePoint, hw: Hardware, eff: Efficiency) -> float:
    one = np.ones(1)
    fast = hw.chip.generation.startswith("blackwell")
    links = net.Links(hw.chip.nvlink_Bps * one, hw.nic_Bps * one, hw.domain_gpus * one, hw.chip.nvls * one, fast * one)
    hosts_together = max(1, hw.domain_gpus // hw.gpus_per_node)
    local = max(1, min(p.num_ranks, p.num_ranks // p.num_hosts * hosts_together))
    away = p.num_ranks > local
    size, members = np.array([float(p.num_ranks)]), np.array([[local, p.num_ranks]], dtype=float)
    ring = np.array([[1.0 / (local * hw.nic_Bps) if away else 0.0, 0.0]])
    clique = np.array([[(p.num_ranks - local) / max(1, p.num_ranks - 1) / hw.nic_Bps if away else 0.0, 0.0]])
    payload = np.array([p.payload_bytes])
    if p.kind == "all_reduce":
        return float(net.all_reduce_s(links, eff, size, members, ring, payload)[0])
    if p.kind == "alltoall":
        return float(net.all_to_all_s(links, eff, size, members, clique, payload)[0])
    if p.kind == "sendrecv":
        single = np.array([[1.0 / hw.nic_Bps if away else 0.0, 0.0]])
        return float(net.point_to_point_s(links, eff, single, payload)[0]) + eff["collective_start_s"]
    return float(net.ring_s(links, eff, size, members, ring, payload)[0])


def fit_matmuls(points: Sequence[MatmulPoint], hw: Hardware, eff: Efficiency) -> Efficiency:
    """Matmul efficiency of each precision, and the cost of operands, from a sweep."""
    if not points:
        return eff
    family = generation_of(hw)
    names = {f"matmul_{family}_{p}": 0.3 for p in sorted({p.precision for p in points})}
    measured = np.log([p.seconds for p in points])
    return _near(eff, names | {"matmul_bytes": 0.5}, lambda e: (np.log(matmul_s(points, hw, e)) - measured) / FEW_PERCENT)


def foreign_precisions(points: Sequence[MatmulPoint], hw: Hardware) -> list[str]:
    """Precisions of a sweep that these GPUs have no tensor cores for."""
    family = generation_of(hw)
    return sorted({p.precision for p in points if f"matmul_{family}_{p.precision}" not in MATMULS})


def matmul_s(points: Sequence[MatmulPoint], hw: Hardware, eff: Efficiency) -> Floats:
    """Predicted seconds of forward matmuls, as `cost/price.py` prices them, in current software."""
    family = generation_of(hw)
    speed = min(relative_power(hw.chip, family) ** min(eff["power"], 1.0), SPEED_LIMIT)
    rate = np.array([hw.chip.peak(p.precision) * eff[f"matmul_{family}_{p.precision}"] * speed for p in points])
    flop = np.array([2.0 * p.m * p.n * p.k for p in points])
    moved = np.array([WEIGHT_BYTES[p.precision] * (p.m * p.k + p.k * p.n) + 2.0 * p.m * p.n for p in points])
    return np.asarray(flop / rate + eff["matmul_bytes"] * moved / hw.chip.hbm_Bps)


def host_constants(times: Mapping[str, float]) -> dict[str, float]:
    """Constants that were measured as they are: what a step and a host take beside the work on the GPUs. Nothing is fitted."""
    own = dict.fromkeys(STACKS, 1.0) if "empty_step" in times else {}  # that of the user's stack, whichever it is
    return own | {HOST[what]: seconds for what, seconds in times.items()}


def fit_steps(
    runs: Sequence[Run], prior: Mapping[str, Prior], eff: Efficiency, known: Mapping[str, float] | None = None, rounds: int = 2
) -> Efficiency:  # fmt: skip
    """All fitted constants but those that are `known`, near those in force, from a user's own measured steps."""
    eff = dataclasses.replace(eff, values={**eff.values, **known}) if known else eff
    used = usable(runs)
    if not used:
        return eff
    names = [n for n, p in prior.items() if p.width > 0 and n not in (known or ())]
    batch, centre = batch_of(used), np.log([eff[n] for n in names])
    rates = np.array([COMMON * n.startswith(RATES) * (n != "matmul_bytes") for n in names])
    near = np.array([OPEN if n.startswith(ROUTED) else CLOSE for n in names])
    spread = np.outer(near, near) * covariance([prior[n] for n in names]) + np.outer(rates, rates)
    whiten = np.linalg.inv(np.linalg.cholesky(spread))
    measured = np.log(batch.fact_R["measured"])
    x = centre
    for _ in range(rounds):
        batch = with_simulation(batch, _with(eff, names, x))

        def residuals(x: Floats) -> Floats:
            error = np.log(predict(batch, _with(eff, names, x))) - measured  # noqa: B023 -- used within the round
            return np.concatenate([error / STEP_NOISE, whiten @ (x - centre)])

        x, _ = descend(residuals, x, near, 15)
    return _with(eff, names, x)


def _near(eff: Efficiency, widths: Mapping[str, float], errors: Callable[[Efficiency], Floats]) -> Efficiency:
    """Constants `widths` moved to make `errors` (in units of noise) small; soft L1, so that outliers count linearly."""
    names, width = list(widths), np.array(list(widths.values()))
    centre = np.log([eff[n] for n in names])

    def residuals(x: Floats) -> Floats:
        z = errors(_with(eff, names, x))
        return np.concatenate([z * np.sqrt(2.0 / (1.0 + np.sqrt(1.0 + z * z))), (x - centre) / width])

    x, _ = descend(residuals, centre, width, 40)
    return _with(eff, names, x)


def _with(eff: Efficiency, names: Sequence[str], x: Floats) -> Efficiency:
    return dataclasses.replace(eff, values={**eff.values, **dict(zip(names, np.exp(x).tolist(), strict=True))})


def own_report(
    base: Efficiency, eff: Efficiency, hw: Hardware | None, points: Sequence[CollectivePoint], sweep: Sequence[MatmulPoint],
    runs: Sequence[Run],
) -> dict[str, Any]:  # fmt: skip
    """Mean error of what was measured before and after, and the constants that moved; `efficiency`: the result."""
    found: dict[str, Any] = {"errors": {}, "efficiency": eff}
    for title, measured, price in (
        ("collectives", [p.seconds for p in points], lambda e: collective_s(points, hw, e) if hw else np.zeros(0)),
        ("matmuls", [p.seconds for p in sweep], lambda e: matmul_s(sweep, hw, e) if hw else np.zeros(0)),
        ("steps", [r.measured_step_s or np.nan for r in runs], lambda e: np.array([predict_run(r, e).step_s for r in runs])),
    ):
        if measured:
            before, after = (float(np.mean(np.abs(price(e) / np.array(measured) - 1.0))) for e in (base, eff))
            found["errors"][title] = {"measured": len(measured), "before": before, "after": after}
    found["constants"] = {
        name: {"before": base[name], "after": value}
        for name, value in sorted(eff.values.items()) if abs(value / base[name] - 1.0) > MOVED
    }  # fmt: skip
    return found
