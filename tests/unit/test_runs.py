# SPDX-License-Identifier: Apache-2.0
"""Reading published runs: every row becomes a prediction or a reason, whatever fields it lacks."""

import numpy as np
import pytest

from placement.diag import InputError
from placement.passes.accuracy import accuracy, report
from placement.passes.layout import balanced, usual_stages
from placement.spec.catalog import efficiency
from placement.spec.run_fields import precision_name, stack_of
from placement.spec.runs import load_runs, read_run, typed

MODEL = {
    "key": "small",
    "kind": "dense",
    "seq_len": 2048,
    "layers": 8,
    "hidden": 1024,
    "heads": 16,
    "ffn": 4096,
    "vocab": 32000,
}
ROUTED = MODEL | {"key": "routed", "kind": "moe", "experts": 8, "topk": 2, "moe_ffn": 2048, "gated_mlp": True}


def row(**fields):
    return {"id": "r", "model": MODEL, "hardware": "H100", "n_gpus": 64, "gbs": 128, "derived": {"step_time_s": 1.0}} | fields


def test_degrees_that_a_row_leaves_open_are_one_and_dp_follows():
    """Null tp, pp, cp, ep, vpp, mbs, recompute, fsdp: one replica a GPU, a microbatch of one sequence."""
    nulls = dict.fromkeys(
        ("tp", "pp", "cp", "ep", "vpp", "mbs", "dp", "fsdp", "recompute", "software", "software_date", "nvlink_domain")
    )
    run = read_run(row(**nulls), 0)
    assert run.reason is None
    s = run.strategy
    assert (s.tp, s.pp, s.cp, s.ep, s.vpp, s.micro_batch, s.dp, s.num_microbatches) == (1, 1, 1, 1, 1, 1, 64, 2)
    assert (s.schedule, s.recompute, s.sharding) == ("1f1b", "none", "zero1")
    assert "mbs" in run.assumed


@pytest.mark.parametrize(
    "hardware",
    ["A100-40GB", "A100", "H100", "H200", "GH200", "H800", "B200", "GB200", "B300", "GB300", "DGX-GB300", "H100-SXM"],
)
def test_every_nvidia_part_of_five_generations_finds_its_chip(hardware):
    """By name, or by the silicon in the name; the domain follows where a row does not say."""
    run = read_run(row(hardware=hardware), 0)
    assert run.reason is None
    assert run.cluster.num_gpus == 64
    rack = "GB200" in hardware or "GB300" in hardware
    assert run.cluster.tiers[0].num_groups == (1 if rack else 8)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"hardware": "MI300X"}, "MI300X"), ({"gbs": None}, "gbs"), ({"n_gpus": None}, "n_gpus"), ({"model": None}, "seq_len"),
        ({"model": {"key": "x", "seq_len": 128}}, "model"), ({"pp": 32, "n_gpus": 32}, "32 stages"),
        ({"model": MODEL | {"layers": "many"}}, "model"), ({"model": 7}, "seq_len"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_expressed_says_why(fields, word):
    """The row stays in the report, without a prediction and with a reason that names what is missing."""
    run = read_run(row(**fields), 0)
    assert run.reason is not None
    assert word in run.reason
    found = accuracy([run, read_run(row(), 1)], efficiency())
    assert found["total"] == 2
    assert found["runs"][0]["predicted_step_time_s"] is None
    assert found["runs"][1]["predicted_step_time_s"] > 0
    assert found["summary"]["predicted"] == 1


@pytest.mark.parametrize(
    "junk", [None, 7, "text", [], {"id": []}, {"model": []}, {"model": {"mla": 3}}, {"gbs": -1, "n_gpus": 1e300}]
)
def test_no_row_crashes_the_report(junk):
    """Junk is a row with a reason."""
    run = read_run(junk, 0)
    assert run.reason
    assert report([run], [run.reason])["runs"][0]["reason"] == run.reason


def test_unknown_fields_of_a_model_do_not_matter():
    """A row may say more than the cost model knows."""
    assert (
        read_run(row(model=MODEL | {"rope_theta": 500000, "activation": "squared-relu", "params_total_b": 0.2}), 0).reason
        is None
    )


@pytest.mark.parametrize("schedule", [None, "1f1b", "interleaved", "dualpipe", "DualPipeV", "zb_h1", "zbv", "gpipe"])
def test_schedules_by_their_many_names(schedule):
    """What does not run at the degrees of the row falls back to the nearest that does."""
    run = read_run(row(pp=4, vpp=2, schedule=schedule), 0)
    assert run.reason is None
    assert accuracy([run], efficiency())["runs"][0]["predicted_step_time_s"] > 0


def test_an_expert_group_larger_than_a_stage_is_cut_to_it():
    """A table that counts ep over two stages: the largest group that fits, and the report says it was assumed."""
    run = read_run(row(model=ROUTED, n_gpus=8, pp=2, ep=8, gbs=64), 0)
    assert run.strategy.ep == 4
    assert "ep" in run.assumed


def test_dense_experts_fields_of_a_dense_model_are_ignored():
    """`kind: dense` with null or zero expert fields is dense."""
    assert not read_run(row(model=MODEL | {"experts": None, "shared_experts": 0, "dense_first_layers": 0}), 0).model.is_moe


def test_precisions_and_stacks_by_their_many_names():
    """fp8_cs, fp8_delayed, fp16_mixed, MXFP8, nvfp4; Composer, torchtitan, MLPerf, and Megatron for the rest."""
    names = ["bf16", "fp16_mixed", "fp8_cs", "fp8_delayed", "MXFP8", "nvfp4", "mxfp4"]
    assert [precision_name(n) for n in names] == ["bf16", "bf16", "fp8", "fp8", "mxfp8", "nvfp4", "nvfp4"]
    stacks = ["Composer/FSDP (2023)", "torchtitan 2024-12", "MLPerf v5.0", "NeMo 24.07", "", "DeepSpeed"]
    assert [stack_of(n) for n in stacks] == ["composer", "torchtitan", "mlperf", "megatron", "megatron", "deepspeed"]


def test_text_scalars_become_numbers_where_they_look_like_one():
    """Documents keep scalars as typed; null, true, integers and floats are read, all else stays text."""
    assert typed({"a": "null", "b": "true", "c": "12", "d": "1.5e3", "e": "2024-07", "f": ["~", "x"]}) == {
        "a": None, "b": True, "c": 12, "d": 1500.0, "e": "2024-07", "f": [None, "x"],
    }  # fmt: skip


def test_a_file_that_is_no_list_is_an_input_error(tmp_path):
    """One diagnostic with a place, no traceback."""
    file = tmp_path / "runs.yaml"
    file.write_text("just: text\n")
    with pytest.raises(InputError, match="list of mappings"):
        load_runs(file)


def test_layers_are_split_as_megatron_does():
    """Evenly, the embedding before and the head after; or with both counted as layers where only that divides."""
    run = read_run(row(pp=4), 0)
    assert usual_stages(run.model, run.strategy, 2048).chunk_B.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]
    counted = read_run(row(pp=5, n_gpus=80, gbs=160), 0)
    assert usual_stages(counted.model, counted.strategy, 2048).chunk_B.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_uneven_blocks_are_cut_so_that_the_heaviest_chunk_is_lightest():
    """Weights 1 4 1 1 5 2 in three chunks: 6 at most, and every chunk gets a block."""
    weight = np.array([1.0, 4.0, 1.0, 1.0, 5.0, 2.0])
    chunk = balanced(weight, 3)
    assert np.bincount(chunk, weight).max() == 6
    assert sorted(set(balanced(np.ones(6), 6).tolist())) == list(range(6))


@pytest.mark.parametrize(
    ("fabric", "gbits"),
    [
        (None, 400), ("IB NDR 400G/GPU", 400), ("4-plane 4x200G Spectrum-X RoCE/GPU", 800), ("8x400G per node", 400),
        ("RoCE 3200 Gbps/node", 400), ("1600 Gb/s a host", 200), ("InfiniBand", 400), ("9000G", 400),
    ],
)  # fmt: skip
def test_the_bandwidth_of_a_gpu_is_read_from_a_fabric_in_words(fabric, gbits):
    """For a GPU or for a host of eight; what cannot be is what hosts of the generation have."""
    assert read_run(row(fabric=fabric), 0).cluster.nic_Bps_N[0] * 8e-9 == pytest.approx(gbits)


@pytest.mark.parametrize(
    ("words", "mode", "share"),
    [
        (None, "none", 1.0), ("none", "none", 1.0), (False, "none", 1.0), ("full", "full", 1.0), (True, "full", 1.0),
        ("full:uniform:1", "full", 1.0), ("full:block:2", "full", 0.5), ("selective:mla_up_proj", "selective", 1.0),
        ("layernorm+moe_act", "selective", 1.0), ("core_attn", "selective", 1.0),
    ],
)  # fmt: skip
def test_recompute_in_all_its_words(words, mode, share):
    """Modes and modules; `block` counts layers of each chunk of a stage, here two of four."""
    run = read_run(row(recompute=words, pp=2), 0)
    assert (run.strategy.recompute, run.recompute_share) == (mode, share)


def test_a_run_is_interleaved_that_says_so_even_with_few_microbatches():
    """Two microbatches on four stages in two chunks: a plan may not, a published run did."""
    run = read_run(row(pp=4, vpp=2, tp=8, gbs=4), 0)
    assert (run.strategy.schedule, run.strategy.vpp, run.strategy.num_microbatches) == ("interleaved", 2, 2)
    plain = read_run(row(pp=4, tp=8, gbs=4), 0)
    step = {r["id"]: r["predicted_step_time_s"] for r in accuracy([run], efficiency())["runs"]}["r"]
    assert 0 < step < accuracy([plain], efficiency())["runs"][0]["predicted_step_time_s"]


def test_the_name_of_a_row_tells_its_schedule_and_its_compiler():
    """torchtitan's tables: `Interleaved 1F1B` without a number of chunks, `FSDP (eager)`."""
    told = {"software": "torchtitan 2024-12", "source": {"row": "Interleaved 1F1B"}}
    run = read_run(row(pp=4, gbs=256, **told), 0)
    assert (run.strategy.schedule, run.strategy.vpp) == ("interleaved", 2)
    assert not run.job.software.eager
    assert read_run(row(**told | {"source": {"row": "FSDP (eager)"}}), 0).job.software.eager


def test_static_shapes_run_in_graphs():
    """Experts of fixed capacity, or a row that says so."""
    assert not read_run(row(), 0).job.software.graphs
    assert read_run(row(moe_routing="token-drop, balanced?"), 0).job.software.graphs
    assert read_run(row(cuda_graph=True), 0).job.software.graphs


def test_gradients_and_weights_move_in_the_formats_of_the_stack():
    """bf16 gradients in NeMo's recipes and fp32 in torchtitan; fp8 weights are gathered as fp8."""
    nemo = read_run(row(software="NeMo 25.04", precision="fp8", software_date="2025-04"), 0).job.optimizer
    assert (nemo.grad_reduce_bytes, nemo.param_gather_bytes) == (2.0, 1.0)
    titan = read_run(row(software="torchtitan", precision="bf16"), 0).job.optimizer
    assert (titan.grad_reduce_bytes, titan.param_gather_bytes) == (4.0, 2.0)


def test_a_routed_model_without_a_width_of_its_experts_takes_the_other():
    """Where all layers are routed, some tables give one width."""
    model = {k: v for k, v in ROUTED.items() if k != "moe_ffn"}
    assert read_run(row(model=model), 0).reason is None
