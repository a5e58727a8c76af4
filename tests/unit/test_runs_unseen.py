# SPDX-License-Identifier: Apache-2.0
"""Rows of measured runs with parts, models, words and units that the published set lacks."""

from typing import Any

import pytest

from placement.cost.flops import flops_per_token, total_params
from placement.passes.accuracy import accuracy
from placement.report.accuracy import screen
from placement.spec.catalog import efficiency
from placement.spec.runs import read_run

MODEL: dict[str, Any] = {
    "key": "small", "kind": "dense", "seq_len": 2048, "layers": 8, "hidden": 1024, "heads": 16, "ffn": 4096, "vocab": 32000,
}  # fmt: skip
PATTERN = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
NANO: dict[str, Any] = {  # Nemotron 3 Nano 30B-A3B
    "key": "nano", "kind": "moe", "seq_len": 8192, "layers": 52, "hidden": 2688, "heads": 32, "kv_heads": 2, "head_dim": 128,
    "vocab": 131072, "gated_mlp": False, "experts": 128, "topk": 6, "moe_ffn": 1856, "shared_experts": 1, "shared_ffn": 3712,
    "params_total_b": 31.6, "params_active_b": 3.6,
}  # fmt: skip


def row(**fields: Any) -> dict[str, Any]:
    return {"id": "r", "model": MODEL, "hardware": "H100", "n_gpus": 64, "gbs": 128} | fields


@pytest.mark.parametrize(
    ("measured", "seconds"),
    [
        ({"tokens_per_s_per_gpu": 4096.0}, 1.0),
        ({"tokens_per_s": 131072.0}, 2.0),
        ({"samples_per_s": 64.0}, 2.0),
        ({"iteration_time_s": 3.0}, 3.0),
        ({"step_time_s": 4.0, "tokens_per_s_per_gpu": 4096.0}, 4.0),
    ],
)
def test_a_throughput_becomes_a_step_time(measured: dict[str, float], seconds: float) -> None:
    """128 sequences of 2,048 tokens on 64 GPUs; a step time that is given wins."""
    run = read_run(row(measured=measured), 0)
    assert run.measured_step_s == pytest.approx(seconds)
    assert accuracy([run], efficiency())["summary"]["scored"] == 1


@pytest.mark.parametrize(
    ("measured", "more", "causal", "times"),
    [
        ({"tflops_per_gpu": 400.0}, {}, False, 1.0),
        ({"tflops_per_gpu": 400.0}, {"flops_convention": "causal (attention halved)"}, True, 1.0),
        ({"tflops_per_gpu": 400.0}, {"flops_convention": "full (non-causal) attention"}, False, 1.0),
        ({"tflops_per_gpu": 400.0}, {"flops_convention": "HARDWARE flops incl. full recompute"}, False, 4 / 3),
        ({"mfu": 0.4}, {"mfu_peak_tflops": 1000}, False, 1.0),
        ({"mfu": 40.0}, {"mfu_peak_tflops": 1000}, False, 1.0),
    ],
)
def test_flops_become_a_step_time(measured: dict[str, float], more: dict[str, Any], causal: bool, times: float) -> None:
    """On the convention that the row names, and with the peak that its MFU divides by."""
    run = read_run(row(measured=measured) | more, 0)
    assert run.model is not None
    flops = times * flops_per_token(run.model, 2048, causal) * 128 * 2048
    assert run.measured_step_s == pytest.approx(flops / 400e12 / 64)


def test_an_mfu_without_a_peak_divides_by_that_of_bf16() -> None:
    """Also of a run in fp8."""
    runs = [read_run(row(measured={"mfu": 0.4}, precision=p), 0) for p in ("bf16", "fp8")]
    assert runs[0].measured_step_s == runs[1].measured_step_s


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"hardware": "H100 PCIe"}, "its H100 is another board"), ({"hardware": "H100-NVL-94GB"}, "its H100 is another board"),
        ({"hardware": "A100-PCIE-40GB"}, "is another board"), ({"precision": "fp32"}, "fp32"), ({"precision": "TF32"}, "TF32"),
        ({"task": "lora"}, "LoRA"), ({"task": "sft", "peft": "LoRA r=16"}, "LoRA"), ({"task": "inference"}, "no training"),
        ({"model": MODEL | {"params_total_b": 56.0, "mamba_layers": 54}}, "not read: mamba_layers"),
    ],
)  # fmt: skip
def test_what_would_be_predicted_wrongly_says_why_not(fields: dict[str, Any], word: str) -> None:
    """Another board, another kind of work, or a model whose fields do not give its parameters."""
    reason = read_run(row(**fields), 0).reason
    assert reason is not None
    assert word in reason


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"hardware": "H20-141GB"}, "hardware"), ({"hardware": "A800 40GB"}, "hardware"), ({"precision": "w4a8"}, "precision"),
        ({"hardware": "A100", "precision": "fp8"}, "precision"), ({"offload": "optimizer states"}, "offload"),
        ({"n_gpus": 63, "tp": 8}, "n_gpus"), ({"model": MODEL | {"params_total_b": 0.27}}, "model"),
    ],
)  # fmt: skip
def test_what_is_read_as_the_nearest_known_is_told(fields: dict[str, Any], name: str) -> None:
    """The run is predicted, and the report says which fields were taken for something else."""
    run = read_run(row(**fields), 0)
    assert run.reason is None
    assert name in run.assumed
    lines = screen(accuracy([run], efficiency())).splitlines()
    assert "1 run predicted as the nearest that the cost model knows:" in lines
    assert lines[lines.index("1 run predicted as the nearest that the cost model knows:") + 1].split() == ["r", name]
    assert name not in read_run(row(hardware="GB300-NVL72", precision="fp16_mixed", offload="none"), 0).assumed


@pytest.mark.parametrize("word", ["zero3", "ZeRO-3", "FSDP2", "hsdp", "FULL_SHARD", "Megatron-FSDP"])
def test_full_sharding_by_its_many_names(word: str) -> None:
    """DeepSpeed, PyTorch and Megatron have words of their own; `zero: 3` is a field of some tables."""
    for fields in ({"sharding": word}, {"zero": 3}):
        strategy = read_run(row(**fields), 0).strategy
        assert strategy is not None
        assert strategy.sharding == "fsdp"


@pytest.mark.parametrize(
    "shapes",
    [
        {"pattern": PATTERN, "mamba": {"heads": 64, "head_dim": 64, "groups": 8, "state": 128}},
        {"hybrid_override_pattern": PATTERN, "mamba": {"num_heads": 64, "head_dim": 64, "n_groups": 8, "d_state": 128}},
        {
            "hybrid_pattern": PATTERN, "mamba_num_heads": 64, "mamba_head_dim": 64, "mamba_num_groups": 8,
            "mamba_state_dim": 128,
        },
    ],
)  # fmt: skip
def test_hybrids_by_the_names_of_several_sources(shapes: dict[str, Any]) -> None:
    """Nemotron 3 Nano, as a short form, as a Hugging Face configuration and as Megatron-LM's arguments name its mixers."""
    run = read_run(row(model=NANO | shapes, n_gpus=16, gbs=512, ep=8), 0)
    assert run.reason is None
    assert run.model is not None
    assert total_params(run.model) == pytest.approx(31.6e9, rel=0.01)
    found = accuracy([run], efficiency())["runs"][0]
    assert 0.03 < found["mfu"] < 0.7


def test_a_pattern_without_the_shapes_of_its_mixers_is_a_reason() -> None:
    """What a mixer needs is named."""
    reason = read_run(row(model=NANO | {"pattern": PATTERN}), 0).reason
    assert reason is not None
    assert "mamba" in reason
