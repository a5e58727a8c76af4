# SPDX-License-Identifier: Apache-2.0
"""`model show`: what it says of a model."""

from __future__ import annotations

import pytest

from placement.cost.flops import active_params, flops_per_token
from placement.report.model import DEFAULT_SEQ_LEN, screen, sequence_length, summary
from placement.spec.model import load_model


def test_screen_of_a_mixture_of_experts() -> None:
    """The screen has parameters, active ones, FLOPs, experts, and a line for each kind of block."""
    model, job = load_model("moe-10t")
    lines = screen(model, summary(model, job)).splitlines()
    assert lines[0] == "moe-10t   hypothetical"
    assert [" ".join(line.split()) for line in lines[2:7]] == [
        "parameters 9.98 T 9,980,543,833,344",
        "active 203 B 203,319,219,456 a token",
        "training 1.29 TFLOP a token, at sequences of 8,192",
        "hidden 12,288 vocabulary 200,704",
        "experts 576 8 a token, ffn 4,096",
    ]
    assert "moe 113 87.5 B 1.69 B 10.8 G layer.[3-115]" in [" ".join(line.split()) for line in lines]


def test_numbers_of_the_kinds_add_up() -> None:
    """Parameters, active parameters and FLOPs of the kinds, times their counts, are those of the model (ties once)."""
    model, job = load_model("deepseek-v3")
    facts = summary(model, job)
    total = {
        key: sum(kind["count"] * kind[key] for kind in facts["block_types"])
        for key in ("parameters", "active_parameters", "flop_per_token")
    }
    assert total["parameters"] - sum(model.tied_params) == facts["parameters"] == model.num_params
    assert total["active_parameters"] - sum(model.tied_params) == facts["active_parameters"] == active_params(model)
    assert total["flop_per_token"] == pytest.approx(facts["flop_per_token"]) == pytest.approx(flops_per_token(model, 4096))
    assert sum(kind["count"] for kind in facts["block_types"]) == facts["blocks"] == 64


@pytest.mark.parametrize(
    ("job", "length"),
    [({"sequence_length": "8,192"}, 8192), ({}, DEFAULT_SEQ_LEN), ({"sequence_length": "x"}, DEFAULT_SEQ_LEN)],
)
def test_sequence_length_of_a_job(job: dict[str, str], length: int) -> None:
    """The file's own sequence length is used where it has a valid one."""
    assert sequence_length(job) == length
