# SPDX-License-Identifier: Apache-2.0
"""Logs of nccl-tests as its versions and launchers write them. Layouts: NVIDIA/nccl-tests, src/common.cu and src/util.cu."""

from __future__ import annotations

import pytest

from placement.diag import InputError
from placement.ir import CollectivePoint
from placement.spec.nccl_tests import nccl_log

V1 = """# nccl-tests of 2017
# NCCL Tests compiled with NCCL 2.0
# Using devices
#   Rank  0 on  node-1 device  0 [0x04] Tesla P100
#   Rank  1 on  node-1 device  1 [0x06] Tesla P100
#                                    out-of-place                    in-place
#      bytes             N    type     time  algbw  busbw      res     time  algbw  busbw      res
   134217728      33554432   float   10.500  12.78   6.39    0e+00   10.501  12.78   6.39    0e+00
 Out of bounds values : 0 OK
"""
V2_9 = """# nThread 1 nGpus 2 minBytes 8 maxBytes 8589934592 step: 2(factor) warmup iters: 5 iters: 20 validation: 1
#
# Using devices
#   Rank  0 Pid  91234 on     node-1 device  0 [0x07] NVIDIA A100-SXM4-80GB
#   Rank  1 Pid  91234 on     node-1 device  1 [0x0f] NVIDIA A100-SXM4-80GB
#
#                                             out-of-place                       in-place
#       size         count    type     time   algbw   busbw  error     time   algbw   busbw  error
#        (B)    (elements)             (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
           0             0   float     6.11    0.00    0.00  0e+00     6.05    0.00    0.00  0e+00
  4294967296     536870912   float    18001  238.60  119.30  0e+00    18001  238.60  119.30  0e+00
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 119.3
"""
V2_19 = """+ srun -n 4 ./build/reduce_scatter_perf -b 1G -e 16G -f 16 -g 1
# nccl-tests version 2.19.6 nccl-headers=23000 nccl-library=23000
# Collective test starting: reduce_scatter_perf
# nThread 1 nGpus 1 minBytes 1073741824 maxBytes 17179869184 step: 16(factor) warmup iters: 1 iters: 20 agg iters: 1
#
# Using devices
#  Rank  0 Group  0 Pid   1201 on     node-1 device  0 [0009:01:00] NVIDIA GB300
#  Rank  1 Group  1 Pid   1202 on     node-1 device  1 [0009:06:00] NVIDIA GB300
#  Rank  2 Group  0 Pid    801 on     node-2 device  0 [0019:01:00] NVIDIA GB300
#  Rank  3 Group  1 Pid    802 on     node-2 device  1 [0019:06:00] NVIDIA GB300
node-1:1201:1201 [0] NCCL INFO Bootstrap: Using eth0:10.0.0.1<0>
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
  1073741824     134217728     float     sum      -1  3067.83  350.00  175.00       0  3067.83  350.00  175.00     N/A
 17179869184    2147483648     float     sum      -1  49085.3  350.00  175.00     N/A  49085.3  350.00  175.00     N/A
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 175
#
# Collective test concluded: reduce_scatter_perf
#
"""


@pytest.fixture
def read(tmp_path):
    def call(text: str, name: str = "run.log") -> list[CollectivePoint]:
        (tmp_path / name).write_text(text)
        return nccl_log(str(tmp_path / name))

    return call


def test_version_1_counts_milliseconds(read):
    assert read(V1, "allgather.txt") == [CollectivePoint("all_gather", 134217728.0, pytest.approx(10.5e-3), 2, 1)]


def test_a_column_that_is_missing_is_not_taken_for_another(read):
    """Version 2.9 has no redop for gathers, and prints long times without a point."""
    assert read(V2_9, "all_gather.log") == [CollectivePoint("all_gather", 4294967296.0, pytest.approx(18001e-6), 2, 1)]


def test_a_log_may_begin_with_a_command_and_carry_other_lines(read):
    """Version 2.19 names its program; ranks in groups of their own form communicators of two hosts."""
    found = read(V2_19)
    assert [p.seconds for p in found] == [pytest.approx(3067.83e-6), pytest.approx(49085.3e-6)]
    assert {(p.kind, p.num_ranks, p.num_hosts) for p in found} == {("reduce_scatter", 2, 2)}


def test_per_iteration_columns_come_after_the_rate(read):
    more = V2_19.replace("#wrong     time", "#wrong    i_min    i_max    i_p99    i_cv%     time").replace(
        "       0  3067.83", "       0  3000.00  3100.00  3090.00     1.20  3067.83"
    )
    assert read(more) == read(V2_19)


@pytest.mark.parametrize("tag", ["[1,0]<stdout>:", "[1,0]<stdout>: ", "0: ", " 0:"])
def test_marks_of_launchers_are_left_out(read, tag):
    assert read("".join(f"{tag}{line}\n" for line in V2_19.splitlines())) == read(V2_19)


def test_a_log_may_hold_several_tests(read):
    other = V2_19.replace("reduce_scatter_perf", "alltoall_perf")
    assert [p.kind for p in read(V2_19 + other)] == ["reduce_scatter"] * 2 + ["alltoall"] * 2
    killed = V2_19.partition("# Out of bounds")[0]
    assert [p.kind for p in read(killed + other.partition("\n")[2])] == ["reduce_scatter"] * 2 + ["alltoall"] * 2


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("350.00  175.00       0", "350.00  175.00      17", 16, "17 wrong values"),
        ("3067.83  350.00", "30678.3  350.00", 16, "are not the 350 GB/s"),
        ("  350.00  175.00     N/A  49085.3  350.00  175.00     N/A\n", "\n", 17, "not complete"),
        ("     time ", "  cputime ", 16, "without -C"),
        ("reduce_scatter_perf", "broadcast_perf", 16, "`broadcast_perf` is none"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_right_are_told_with_their_line(read, old, new, line, told):
    """Wrong results, a time that its rate denies, a line cut off, processor time, another collective."""
    text = V2_19.replace(old, new)
    assert text != V2_19
    with pytest.raises(InputError) as caught:
        read(text)
    assert [(d.primary.span.line, told in d.message) for d in caught.value.diagnostics] == [(line, True)]


def test_everything_wrong_is_told_at_once(read):
    text = V2_19.replace("3067.83  350.00", "30678.3  350.00").replace("49085.3  350.00", "4908.53  350.00")
    with pytest.raises(InputError) as caught:
        read(text)
    assert [d.primary.span.line for d in caught.value.diagnostics] == [16, 17]
