# SPDX-License-Identifier: Apache-2.0
"""Ways to place several towers that single tests can pin down: what is left of racks, bridges near, rails apart."""

from __future__ import annotations

import numpy as np
import pytest

from placement.diag import Infeasible
from placement.ir import Term, Traffic
from placement.ir.comms import Comms, Tower, Wires
from placement.passes.comms_place import launcher_order, place_comms
from placement.passes.comms_units import units_of
from placement.passes.rails import rail_conflicts
from tests import clusters


def tower(name: str, sent: dict[str, float], **degrees: int) -> Tower:
    s = clusters.strategy(**degrees)
    kinds = {"ep": "clique", "pp": "path"}
    return Tower(
        name, s.world_size, s, Traffic(tuple(Term(a, kinds.get(a, "ring"), np.full(s.pp, b)) for a, b in sent.items()))
    )


def test_small_cells_take_what_large_ones_leave() -> None:
    """Racks of 6 GPUs, cells of 4: two GPUs of each are left, and they hold the tensor pairs of the other tower."""
    cluster = clusters.regular(2, 3, (2, 2))
    comms = Comms(
        "j", (tower("small", {"tp": 9.0, "dp": 1.0}, tp=2, dp=4), tower("large", {"tp": 9.0, "dp": 1.0}, tp=4, dp=4)), ()
    )
    found = place_comms(cluster, comms)
    domain_R = cluster.tiers[0].group_N[found.best.placement.gpu_R // 2]
    assert np.bincount(domain_R[8:]).tolist() == [4, 4, 4, 4]
    assert np.bincount(domain_R[:8]).tolist() == [2, 2, 2, 2]
    assert all(p.bytes_T[0] == 0 for p in found.best.loads.parts if p.label.endswith(".tp"))


@pytest.mark.parametrize("heavy", [True, False])
def test_bridges_decide_between_regions_and_shares(heavy: bool) -> None:
    """Two leaf groups. Heavy bridges: each holds replicas of both towers that exchange samples; light ones: a tower each."""
    cluster = clusters.regular(2, 1, (4, 2), taper=[0.5])
    towers = (tower("a", {"dp": 10.0}, tp=2, dp=4), tower("b", {"dp": 10.0}, tp=2, dp=4))
    rank = np.arange(8)
    comms = Comms("j", towers, (Wires("a -> b", "bridge", rank, rank + 8, np.full(8, 1000.0 if heavy else 0.001)),))
    leaf_R = cluster.tiers[1].group_N[place_comms(cluster, comms).best.placement.gpu_R // 2]
    assert bool((leaf_R[:8] == leaf_R[8:]).all()) is heavy
    assert (len(set(leaf_R[:8].tolist())) == 1) is not heavy


def test_bare_ranks_are_paired_along_their_traffic() -> None:
    """Units of whole nodes hold what talks most; groups that must stay together come first."""
    heavy = (np.array([0, 1, 2, 3]), np.array([4, 5, 6, 7]))
    comms = Comms(
        "j", (Tower("all", 8, None, Traffic(())),), (Wires("w", "pairs", *heavy, np.full(4, 5.0)),), (np.array([0, 7]),)
    )
    units = units_of(clusters.tiny(), comms)
    assert units.size_U.tolist() == [2, 2, 2, 2]
    assert [len(set(units.unit_R[list(pair)].tolist())) for pair in ((0, 7), (1, 5), (2, 6), (3, 4))] == [1, 1, 1, 1]


def test_rails_apart() -> None:
    """No communicator needs a path between rails, as no other placement would be allowed."""
    cluster = clusters.regular(2, 1, (2, 2), rails_connected=False)
    comms = Comms("j", (tower("a", {"tp": 5.0, "dp": 1.0}, tp=2, dp=2), tower("b", {"dp": 1.0}, dp=4)), ())
    gpu_R = place_comms(cluster, comms).best.placement
    for k, part in enumerate((gpu_R.gpu_R[:4], gpu_R.gpu_R[4:])):
        strategy = comms.towers[k].strategy
        assert strategy is not None
        assert not any(rail_conflicts(cluster, strategy, type(gpu_R)(part)).values())


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(Infeasible, match="do not fill whole nodes of 2"):
        place_comms(clusters.tiny(), Comms("j", (Tower("a", 3, None, Traffic(())),), ()))
    with pytest.raises(Infeasible, match="10 ranks, but 8 GPUs are usable"):
        launcher_order(clusters.tiny(), 10)


def test_a_torus_of_bare_ranks() -> None:
    """24 x 24 shuffled ranks on 8 racks of 72: the launcher cuts 7 of 8 edges at racks, blocks of 8 x 9 cut 17 of 144."""
    cluster = clusters.regular(4, 18, (4, 2))
    at = np.random.default_rng(1).permutation(576).reshape(24, 24)
    ends = [np.concatenate([x.ravel(), x.ravel()]) for x in (at,)] + [
        np.concatenate([np.roll(at, 1, a).ravel() for a in (0, 1)])
    ]
    wires = Wires("torus", "pairs", ends[0], ends[1], np.ones(1152))
    found = place_comms(cluster, Comms("j", (Tower("all", 576, None, Traffic(())),), (wires,)))
    assert found.launcher.loads.bytes_T[0] > 900
    assert found.best.loads.bytes_T[0] < 2.0 * 8 * 17
