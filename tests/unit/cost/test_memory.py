# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from placement.cost.memory import boundary_widths, cut_widths, limit_bytes, stage_memory
from placement.cost.traffic import traffic
from placement.ir import MEMORY, Job, Stages
from tests.clusters import strategy
from tests.layers import chain, hardware, layer_costs, with_head

JOB = Job(seq_len=1024, global_batch=64)
ONES = [[1.0, 1.0, 1.0]] * 2
W, G, O, A, B, R = range(len(MEMORY))


def of(stage_blocks: list[int], **degrees: int | str) -> np.ndarray:
    """Memory of 2-type models: type 0 has 100 dense and 1,000 expert parameters, type 1 has 10 dense; 7 B kept, 3 B, 1 B."""
    model = chain([0] * (len(stage_blocks) - 1) + [1], types=2)
    layer = layer_costs(ONES, act_YC=[[7, 3, 1], [2, 2, 2]], dense_Y=[100, 10], expert_Y=[1000, 0], edge=5.0)
    s = strategy(**degrees)
    return stage_memory(model, JOB, s, Stages(np.array(stage_blocks), (str(degrees.get("recompute", "none")),) * s.pp), layer)


def test_one_gpu_holds_18_bytes_a_parameter() -> None:
    """bf16 weights 2, fp32 gradients 4, fp32 master and moments 12: 18 bytes, Megatron dist_optimizer.md."""
    memory = of([0, 0, 0], sharding="none")
    assert memory[0, [W, G, O]].tolist() == [2 * 2210.0, 4 * 2210.0, 12 * 2210.0]


@pytest.mark.parametrize(
    ("sharding", "sharded"),
    [
        ("none", (False, False, False)),
        ("zero1", (False, False, True)),
        ("zero2", (False, True, True)),
        ("fsdp", (True, True, True)),
    ],
)
def test_sharding_divides_what_it_says(sharding: str, sharded: tuple[bool, bool, bool]) -> None:
    """Dense parameters are sharded over dp * cp = 8, experts over edp = 2; zero1 states, zero2 gradients too, fsdp all."""
    whole, split = 110 + 1000, 110 / 8 + 1000 / 2
    memory = of([0, 0], sharding=sharding, dp=4, cp=2, ep=4)
    assert memory[0, [W, G, O]] == pytest.approx(np.array([2, 4, 12]) * np.where(sharded, split, whole))


def test_fsdp_gathers_two_blocks_and_one_gradient() -> None:
    """Two whole blocks of bf16 weights (one in use, one arriving) and one of bf16 gradients: 6 bytes a parameter."""
    assert of([0, 0, 0], sharding="fsdp", dp=4, cp=2, ep=4)[0, B] == 6 * 1100
    assert of([0, 0, 0], sharding="zero1", dp=4, cp=2, ep=4)[0, B] == 0


def test_gtp_gathers_the_dense_part_only() -> None:
    """With gtp 2 a GPU holds half of the dense weights (100 of 200) and gathers 200; experts stay."""
    assert of([0, 0, 0], gtp=2, dp=4, ep=4)[0, B] == 6 * 200


@pytest.mark.parametrize(("mode", "kept"), [("none", 7.0), ("selective", 3.0), ("full", 1.0)])
def test_activations_are_microbatches_held_times_bytes_and_one_block_at_work(mode: str, kept: float) -> None:
    """Stage 0 of 1F1B holds 3 microbatches of 2 blocks; recompute needs the rest of one block (7 bytes) at a time."""
    memory = of([0, 0, 1, 2], pp=3, recompute=mode)
    assert memory[0, A] == 3 * 2 * kept + (7 - kept)
    assert memory[1, A] == 2 * 1 * kept + (7 - kept)
    assert memory[2, A] == 1 * 2.0


def test_boundaries_have_buffers_of_both_directions() -> None:
    """An inner stage sends and receives at two boundaries: 4 edges of 5 bytes; the ends 2; one stage alone none."""
    assert of([0, 0, 1, 2], pp=3)[:, B].tolist() == [10.0, 20.0, 10.0]
    assert of([0, 0, 0], pp=1)[0, B] == 0.0


def test_dualpipe_keeps_two_copies_of_the_weights() -> None:
    """Stages p and pp-1-p hold the same two chunks; the states are shared by the two copies."""
    memory = of([0, 0, 1], pp=2, schedule="dualpipe", num_microbatches=8)
    assert memory[0, [W, G, O]].tolist() == [2 * 2210.0, 4 * 2210.0, 12 * 2210.0 / 2]
    assert memory[1, [W, G, O]].tolist() == memory[0, [W, G, O]].tolist()


def test_low_precision_keeps_two_quantised_copies_of_matrices() -> None:
    """mxfp8: 2 bytes of bf16 and 2 x 1.03125 of an expert's weight; opaque dense blocks are not quantised."""
    model = chain([0, 0], types=1)
    layer = layer_costs([[1, 1, 1]], dense_Y=[100], expert_Y=[1000])
    job = Job(seq_len=1024, global_batch=64, precision="mxfp8")
    memory = stage_memory(model, job, strategy(), Stages(np.array([0, 0]), ("none",)), layer)
    assert memory[0, W] == pytest.approx(2 * (2 * 1100 + 2.0625 * 1000))


def test_logits_are_held_once_whatever_the_schedule() -> None:
    """A head's backward follows its forward at once, so ZB-H1's late weight gradients keep its input but not its logits."""
    model = with_head(chain([0, 0, 0, 1]), vocab=100)
    logits = 6.0 * JOB.seq_len * 100  # bf16 and fp32 of micro_batch 1, tp 1
    layer = layer_costs(ONES, act_YC=[[7, 3, 1], [logits + 2, logits + 2, 2]])
    s = strategy(pp=4, schedule="zb-h1", num_microbatches=8)
    for mode in ("none", "full"):
        memory = stage_memory(model, JOB, s, Stages(np.arange(4), (mode,) * 4), layer)
        assert memory[3, A] == pytest.approx(4 * 2 + logits)


def test_tied_matrices_count_once_in_one_stage_and_twice_in_two() -> None:
    """Embedding and head share 10 parameters: one GPU stores them once; the first and last of two stages each."""
    model = chain([0, 1, 0], types=2, tied=True)
    layer = layer_costs(ONES, dense_Y=[10, 100])
    alone = stage_memory(model, JOB, strategy(), Stages(np.array([0, 0, 0]), ("none",)), layer)
    assert alone[0, W] == 2 * 110
    apart = stage_memory(model, JOB, strategy(pp=2), Stages(np.array([0, 0, 1]), ("none",) * 2), layer)
    assert apart[:, W].tolist() == [2 * 110, 2 * 10]


def test_a_skip_edge_widens_the_cuts_it_crosses() -> None:
    """Block 0 read by 1 and 3 crosses cuts 1 to 3 once; the chain crosses each cut once."""
    assert cut_widths(chain([0, 0, 0, 0, 0])).tolist() == [0, 1, 1, 1, 1, 0]
    assert cut_widths(chain([0, 0, 0, 0, 0], skips=[(0, 3)])).tolist() == [0, 1, 2, 2, 1, 0]


def test_interleaving_counts_every_chunk_at_the_fullest_moment() -> None:
    """Two stages of two chunks and 4 microbatches: stage 0 holds 5 chunk activations (4 + 1), stage 1 holds 3."""
    memory = of([0, 1, 2, 3], pp=2, vpp=2, schedule="interleaved", num_microbatches=4)
    # stage 0 holds chunks 0 and 2 (7 bytes each): 2 of chunk 0, 2 of chunk 2 and 1 more. Stage 1 is fullest when
    # both microbatches of chunk 3 have gone back and a third of chunk 1 comes in
    assert memory[0, A] == 5 * 7
    assert memory[1, A] == 3 * 7


def test_the_limit_leaves_the_margin_free() -> None:
    """A job may use the memory of a GPU less its margin."""
    assert limit_bytes(Job(seq_len=1, global_batch=1, memory_margin=0.1), hardware(100e9)) == pytest.approx(90e9)


def test_a_reserve_has_its_own_column() -> None:
    """`reserve_bytes` stands in the last column and nowhere else."""
    model, layer = chain([0, 0], types=1), layer_costs([[1, 1, 1]])
    memory = stage_memory(model, JOB, strategy(), Stages(np.array([0, 0]), ("none",)), layer, reserve_bytes=3.0)
    assert memory[0].tolist() == [0, 0, 0, 0, 0, 3.0]


def test_what_skips_stages_rides_in_every_message_on_its_way() -> None:
    """Block 0 is read by blocks 1 and 3, one block a stage: its output leaves stage 0 once, and
    passes through stages 1 and 2 beside theirs. Tensors of 5 bytes, two microbatches."""
    model, s = chain([0, 0, 0, 0], skips=[(0, 3)]), strategy(pp=4, num_microbatches=2)
    stages = Stages(np.arange(4), ("none",) * 4)
    assert boundary_widths(model, s, stages).tolist() == [1, 2, 2]
    layer = layer_costs(ONES[:1], dense_Y=[100], edge=5.0)
    (term,) = [t for t in traffic(model, JOB, s, stages, layer).terms if t.axis == "pp"]
    assert term.bytes_P.tolist() == [10, 20, 20, 0]
