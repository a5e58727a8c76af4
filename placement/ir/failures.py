# SPDX-License-Identifier: Apache-2.0
"""How often parts fail and how long they stay away."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = ("node", "domain", "leaf", "cable", "none")  # what is gone; none: the job stops, nothing is broken
GPU_DAY = 419 / 884_736  # interruptions a GPU day: Llama 3, arXiv 2407.21783, table 5


@dataclass(frozen=True)
class Failures:
    """One class of failures. `per_day` for each unit; units are GPUs or NVLink domains (`per`). `repair_s` until it is back."""

    name: str
    scope: str
    per: str
    per_day: float
    repair_s: float
    source: str

    def daily(self, gpus: int, domains: int) -> float:
        """Expected failures a day of a whole cluster."""
        return self.per_day * (gpus if self.per == "gpu" else domains)
