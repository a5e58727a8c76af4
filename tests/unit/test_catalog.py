# SPDX-License-Identifier: Apache-2.0
"""The catalogue of hardware: complete, cited, and equal to the facts it was written from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from placement.diag import InputError
from placement.spec.catalog import CATALOG, chip, chips, efficiency, nics, switches

PARTS = (
    "A100-40GB", "A100-80GB", "A800", "H20", "H100", "H100-96GB-HBM2e", "H800", "H200", "GH200",
    "B200", "GB200", "B300", "GB300",
)  # fmt: skip


def test_every_part_is_there() -> None:
    """From A100 to GB300, and the H100 variant of torchtitan's published runs."""
    assert set(PARTS) == {c.name for c in chips().values()}


def test_gb300_by_hand() -> None:
    """SI units inside: 2.45 PFLOP/s dense bf16, 14.7 nvfp4, 284,208 MiB, 8 TB/s, 900 GB/s NVLink in one direction."""
    gb300 = chip("GB300")
    assert dict(gb300.peak_flops) == {"bf16": 2.45e15, "fp8": 4.9e15, "nvfp4": 14.7e15}
    assert (gb300.hbm_bytes, gb300.hbm_Bps, gb300.nvlink_Bps) == (284_208 * 2**20, 8e12, 9e11)
    assert (gb300.generation, gb300.form, gb300.nvls) == ("blackwell_ultra", "nvl72", True)


def test_wider_precisions_stand_in() -> None:
    """A GPU without FP8 computes it in bf16, one without NVFP4 in FP8."""
    assert chip("A100-80GB").peak("fp8") == 312e12
    assert chip("H100").peak("nvfp4") == chip("H100").peak("mxfp8") == 1979e12


@pytest.mark.parametrize("name", PARTS)
def test_plausible(name: str) -> None:
    """Faster formats are faster, memory outruns NVLink, and nothing is off by a thousand."""
    c = chip(name)
    peaks = [c.peak(p) for p in ("bf16", "fp8", "nvfp4")]
    assert peaks == sorted(peaks)
    assert 1e14 < peaks[0] < 3e15
    assert 40e9 < c.hbm_bytes < 300e9
    assert c.nvlink_Bps < c.hbm_Bps < 10e12


@pytest.mark.parametrize("file", ["gpus.yaml", "nics.yaml", "switches.yaml"])
def test_every_entry_cites_a_source(file: str) -> None:
    """No number without the place it was read."""
    tree = yaml.safe_load((CATALOG / file).read_text())
    assert all(len(entry.get("source", "")) > 5 for entry in tree.values())


def test_peaks_equal_the_collected_facts() -> None:
    """Dense peaks, memory bandwidth and NVLink agree with the collected hardware facts, where this checkout has them."""
    path = Path(__file__).parents[3] / "shared" / "data" / "hardware.yaml"
    if not path.exists():
        pytest.skip("no collection of hardware facts beside this checkout")
    facts = yaml.safe_load(path.read_text())["gpus"]
    pairs = {
        "A100-80GB-SXM": "A100-80GB", "H100-SXM5-80GB": "H100", "H800": "H800", "H200-SXM-141GB": "H200",
        "B200-SXM-180GB": "B200", "GB200-NVL72": "GB200", "B300-HGX": "B300", "GB300-NVL72": "GB300",
    }  # fmt: skip
    for theirs, ours in pairs.items():
        known, made = facts[theirs], chip(ours)
        wanted = {p: known["peak_tflops"].get(p) for p in ("bf16", "fp8", "nvfp4")}
        assert {p: f / 1e12 for p, f in made.peak_flops.items()} == {p: v for p, v in wanted.items() if v}
        assert made.hbm_Bps == pytest.approx(known["hbm"]["bandwidth_tb_s"] * 1e12)
        assert made.nvlink_Bps == pytest.approx(known["nvlink"]["gb_s_bidir_per_gpu"] / 2 * 1e9)


def test_aliases_and_unknown_names() -> None:
    """Other names of a part find it; an unknown one gets a suggestion."""
    assert chip("GB300-NVL72") is chip("GB300")
    with pytest.raises(InputError) as caught:
        chip("GB30")
    (finding,) = caught.value.diagnostics
    assert (finding.name, finding.message) == ("catalog/unknown-gpu", "`GB30` is no GPU of the catalogue")
    assert finding.help in ("did you mean `GB300`?", "did you mean `GB200`?")


def test_adapters_and_switches() -> None:
    """Line rates in bytes per second; ports times speed is the switch's capacity."""
    assert {n: nics()[n].speed for n in ("ConnectX-6-HDR", "ConnectX-7", "ConnectX-8")} == {
        "ConnectX-6-HDR": 25e9, "ConnectX-7": 50e9, "ConnectX-8": 100e9,
    }  # fmt: skip
    capacity = {n: s.ports * s.speed * 8e-12 for n, s in switches().items()}
    assert capacity["Q3400"] == pytest.approx(115.2)
    assert capacity["SN5610"] == capacity["SN5600"] == pytest.approx(51.2)


def test_efficiencies_are_data(tmp_path: Path) -> None:
    """Constants come from a file, with their provenance; a user's calibration is read the same way."""
    fitted = efficiency()
    assert fitted.provenance
    assert len(fitted.values) > 10
    mine = tmp_path / "mine.yaml"
    mine.write_text("provenance: by hand\nvalues: {matmul: 0.7}\n")
    assert (efficiency(mine)["matmul"], efficiency(mine).provenance) == (0.7, "by hand")
    mine.write_text("provenance: by hand\nvalues: {matmul: fast}\n")
    with pytest.raises(InputError, match="catalog/not-a-number: `fast` is not a number"):
        efficiency(mine)
