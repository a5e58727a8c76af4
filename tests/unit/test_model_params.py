# SPDX-License-Identifier: Apache-2.0
"""Parameters and FLOPs of the models that come with the tool, against what their authors published."""

from __future__ import annotations

import pytest

from placement.cost.flops import active_params, block_flops, flops_by_type, flops_per_token, total_params
from placement.ir import Attention, BlockType, Matmul, Vocab
from placement.spec.model import load_model, lower_short

# Exact counts are those of the tensors in the published checkpoints; rounded ones are the authors' words.
PUBLISHED = {
    "llama3.1-405b": (405_853_388_800, 0),  # model card of meta-llama/Llama-3.1-405B
    "llama3-70b": (70_553_706_496, 0),  # model card of meta-llama/Meta-Llama-3-70B
    "deepseek-v3": (671_026_419_200 - 58 * 256, 0),  # checkpoint, without the router's balancing bias, which is not trained
    "qwen3-235b-a22b": (235_093_634_560, 0),  # model card of Qwen/Qwen3-235B-A22B
    "gpt3-175b": (174.6e9, 1e-4),  # arXiv 2005.14165, table D.1: 174,600 M
    "megatron-1t": (1008.0e9, 1e-4),  # arXiv 2104.04473, table 1
    "grok-1": (314e9, 6e-3),  # README of xai-org/grok-1; the shapes of its run.py give 315.7 B
    "moe-10t": (10.0e12, 0.02),  # our own, hypothetical
    "moe-6t": (6.0e12, 0.02),
    "moe-1.5t": (1.5e12, 0.02),
    "moe-1t": (1.0e12, 0.02),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters(name: str) -> None:
    """A model file has the parameters that its authors published, prediction modules left out as they do."""
    model, _ = load_model(name)
    published, tolerance = PUBLISHED[name]
    counted = model.num_params if name.startswith("moe-") else total_params(model, mtp=False)
    assert counted == pytest.approx(published, rel=tolerance, abs=0)


def test_deepseek_checkpoint_with_prediction_module() -> None:
    """The 685 B checkpoint of DeepSeek-V3 is the model, its prediction module, and that module's own embedding and head."""
    model, _ = load_model("deepseek-v3")
    own_tables = 2 * 129_280 * 7_168
    assert model.num_params + own_tables == pytest.approx(685e9, rel=1e-3)
    assert model.num_params - total_params(model, mtp=False) == pytest.approx(14e9 - own_tables, rel=0.05)  # "14B of the MTP"


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("qwen3-235b-a22b", 22.2e9),  # arXiv 2505.09388: 22 B activated
        ("deepseek-v3", 37.55e9),  # arXiv 2412.19437: 37 B activated for each token
        ("llama3.1-405b", 405.85e9),
        ("grok-1", 0.25 * 309.2e9 + 6.44e9),  # "25 % of the weights active": 2 of 8 experts, and everything else
    ],
)
def test_published_active_parameters(name: str, published: float) -> None:
    """The parameters that a token visits are those that authors call active."""
    assert active_params(load_model(name)[0], mtp=False) == pytest.approx(published, rel=1e-3)


def test_megatron_formula() -> None:
    """Full attention gives the FLOPs of Narayanan et al. 2021: 96 B s l h^2 (1 + s/6h + V/16lh), less recomputation."""
    model, job = load_model("megatron-1t")
    layers, h, vocab, s = 128, 25_600, 51_200, int(job["sequence_length"])
    formula = 72 * layers * h**2 * (1 + s / (6 * h) + vocab / (12 * layers * h))
    assert flops_per_token(model, s, causal=False) == pytest.approx(formula, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "seq_len", "published", "tolerance"),
    [
        ("gpt3-175b", 2048, 3.14e23 / 300e9, 0.02),  # arXiv 2005.14165, table D.1, which leaves attention scores out
        ("llama3.1-405b", 8192, 3.8e25 / 15.6e12, 0.05),  # arXiv 2407.21783, section 3.2.1: 6 N D, scores left out
        # TFLOP/s over tokens/s per GPU, tables of the Megatron-Bridge performance summary: 26.06, 26.06, 25.09, 26.02.01
        ("deepseek-v3", 4096, 1670e12 / 6422, 0.004),
        ("llama3.1-405b", 8192, 2129e12 / 843, 0.001),
        ("llama3.1-405b", 8192, 1840e12 / 729, 0.001),
        ("llama3-70b", 8192, 2157e12 / 4798, 0.001),
    ],
)
def test_published_flops(name: str, seq_len: int, published: float, tolerance: float) -> None:
    """Training FLOPs for a token agree with what authors and vendors printed."""
    assert flops_per_token(load_model(name)[0], seq_len) == pytest.approx(published, rel=tolerance)


def test_flops_by_hand() -> None:
    """One layer of width 4 with one head, ffn 8 and vocabulary 10 at two tokens, counted by hand."""
    model = lower_short({"layers": 1, "hidden": 4, "heads": 1, "ffn": 8, "vocab": 10, "gated_mlp": False})
    projections, mlp, scores, logits = 4 * 16, 2 * 32, 2 * 2 * 4 * 2, 40
    assert flops_per_token(model, 2, causal=False) == 6 * (projections + mlp + logits) + 3 * scores
    assert flops_per_token(model, 2, causal=True) == 6 * (projections + mlp + logits) + 3 * scores / 2


def test_window_reads_the_mean_of_visible_keys() -> None:
    """A windowed causal layer reads the mean of min(i, window) keys, which a sum over positions confirms."""
    seq_len, window = 4096, 128
    block = BlockType("layer", (Attention(1, 1, 1, 1, window=window),), 1)
    mean = sum(min(i + 0.5, window) for i in range(seq_len)) / seq_len
    assert block_flops(block, seq_len) == pytest.approx(3 * 2 * 2 * mean, rel=1e-4)


def test_window_as_long_as_the_sequence_is_full_attention() -> None:
    """A window that holds the whole sequence costs what full causal attention costs."""
    wide, full = (BlockType("x", (Attention(8, 8, 64, 64, window=w),), 512) for w in (10_000, None))
    assert block_flops(wide, 4096) == block_flops(full, 4096)


def test_linear_attention_does_not_grow_with_the_sequence() -> None:
    """Linear attention costs the same at every length: a qk x v state is updated and read."""
    block = BlockType("x", (Attention(2, 2, 16, 32, linear=True),), 64)
    assert block_flops(block, 1024) == block_flops(block, 1_048_576) == 3 * 2 * (2 * 2 * 16 * 32)


def test_head_serves_the_prediction_modules() -> None:
    """A prediction module doubles the work of the head, and adds a layer and a 2h x h projection."""
    short = {"layers": 2, "hidden": 8, "heads": 2, "ffn": 16, "vocab": 10}
    plain, more = lower_short(short), lower_short(short | {"mtp_layers": 1})
    a, b = flops_by_type(plain, 4), flops_by_type(more, 4)
    assert b["head"] == 2 * a["head"]
    assert b["mtp"] == a["dense"] / 2 + 6 * 2 * 8 * 8
    assert b["dense"] == a["dense"]


def test_tied_embeddings_share_one_matrix() -> None:
    """Tying the embeddings saves exactly one vocabulary matrix and no FLOPs."""
    short = {"layers": 2, "hidden": 8, "heads": 2, "ffn": 16, "vocab": 10, "learned_positions": 4}
    loose, tied = lower_short(short), lower_short(short | {"tied_embeddings": True})
    assert loose.num_params - tied.num_params == 80
    assert flops_per_token(loose, 4) == flops_per_token(tied, 4)


def test_active_parameters_of_a_dense_model_are_all() -> None:
    """Every parameter of a dense model is active."""
    model = lower_short({"layers": 2, "hidden": 8, "heads": 2, "ffn": 16, "vocab": 10})
    assert active_params(model) == model.num_params == total_params(model)


def test_biases_add_parameters_but_no_flops() -> None:
    """Biases are parameters; the convention counts no FLOPs for them."""
    short = {"layers": 1, "hidden": 8, "heads": 2, "ffn": 16, "vocab": 10, "gated_mlp": False}
    plain, biased = lower_short(short), lower_short(short | {"biases": "all"})
    assert biased.num_params - plain.num_params == 24 + 8 + 16 + 8
    assert flops_per_token(biased, 4) == flops_per_token(plain, 4)


def test_latent_attention_by_its_published_shapes() -> None:
    """A latent attention layer of DeepSeek-V3 has 187.1 M parameters in its five matrices (arXiv 2412.19437, section 4.2)."""
    model, _ = load_model("deepseek-v3")
    dense = next(t for t in model.types if t.name == "dense")
    attention = sum(op.params for op in dense.ops if isinstance(op, Matmul)) - 3 * 7168 * 18432
    assert attention == 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168 == 187_105_280


def test_vocabulary_matrices_are_counted_where_they_are() -> None:
    """Embedding and head each hold vocab x hidden parameters; a prediction module adds none of its own."""
    model, _ = load_model("deepseek-v3")
    tables = [t.name for t in model.types if any(isinstance(op, Vocab) for op in t.ops)]
    assert sorted(tables) == ["embedding", "head", "mtp"]
    assert model.tied_params == (129_280 * 7_168,)
