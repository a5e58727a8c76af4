# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from placement.runtime import crc

VECTORS = [  # RFC 3720, appendix B.4
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(reversed(range(32))), 0x113FDB5C),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


def slow(data: bytes) -> int:
    """Bit by bit, from the definition."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(("data", "value"), VECTORS)
def test_published_vectors(data: bytes, value: int) -> None:
    """CRC-32C gives the values of RFC 3720."""
    assert crc.crc32c(data) == value == slow(data)


@pytest.mark.parametrize("size", [5684, 5685, 5686, 10_008, 10_009, 90_959, 90_961, 160_130])
def test_long_data(size: int) -> None:
    """Folding keeps the CRC at every edge of its passes."""
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    assert crc.crc32c(data) == slow(data)


def test_the_multiple() -> None:
    """The generator divides the four-term polynomial that the jumps stand for."""
    first, second, last = crc._JUMPS
    terms = {last, last - first, last - second, 0}
    assert terms == {5685, 1362, 426, 0}
    remainder = sum(1 << t for t in terms)
    generator = 1 << 32 | 0x1EDC6F41
    for bit in range(last, 31, -1):
        if remainder >> bit & 1:
            remainder ^= generator << (bit - 32)
    assert remainder == 0


def test_every_flipped_bit_shows() -> None:
    """One flipped bit anywhere in a folded message changes the CRC."""
    data = bytearray(np.random.default_rng(1).integers(0, 256, 6000, np.uint8).tobytes())
    want = crc.crc32c(data)
    for at in (0, 3, 4, 313, 314, 5999):
        data[at] ^= 16
        assert crc.crc32c(data) != want
        data[at] ^= 16
