# SPDX-License-Identifier: Apache-2.0
"""CRC-32C (Castagnoli, RFC 3720 appendix B.4) at memory speed with plain XORs of numpy arrays.

The generator P divides x^5685 + x^1362 + x^426 + 1, one of the shortest four-term multiples with long gaps (Koopman 2002, DSN:
none exists below degree 5275, which is why CRC-32C has Hamming distance 6 up to 5243 bits). Squaring a polynomial over GF(2)
doubles its exponents, so with every exponent times 8*2^k it is a multiple of P still: a byte may be removed from the front if
it is XORed into the bytes 4323*2^k, 5259*2^k and 5685*2^k places later. That turns megabytes into a few kilobytes with the
same CRC, which a table finishes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_REFLECTED = 0x82F63B78  # 0x1EDC6F41 with its bits reversed
_DEGREE = 5685
_JUMPS = (5685 - 1362, 5685 - 426, 5685)
_SCALES = (16, 1)  # chunks of 69 kB stay in the second-level cache; the last pass leaves at most _DEGREE bytes


def _table() -> tuple[int, ...]:
    crc_B = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc_B = np.where(crc_B & 1, (crc_B >> 1) ^ _REFLECTED, crc_B >> 1).astype(np.uint32)
    return tuple(crc_B.tolist())


_TABLE = _table()


def crc32c(data: bytes | bytearray | memoryview | npt.NDArray[np.uint8]) -> int:
    """CRC-32C of bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    view = np.frombuffer(data, dtype=np.uint8)
    if len(view) <= _DEGREE:
        return _finish(view.tobytes(), 0xFFFFFFFF) ^ 0xFFFFFFFF
    folded = view.copy()
    folded[:4] ^= 0xFF  # the initial value of the register, as part of the message
    return _finish(_fold(folded).tobytes(), 0) ^ 0xFFFFFFFF


def _fold(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The last `_DEGREE` bytes or fewer, after the front was XORed into them. Overwrites `data`."""
    at, size = 0, len(data)
    for scale in _SCALES:
        while (left := size - at - _DEGREE * scale) > 0:
            count = min(left, _JUMPS[0] * scale)
            front = data[at : at + count]
            for jump in _JUMPS:
                data[at + jump * scale : at + jump * scale + count] ^= front
            at += count
    return data[at:]


def _finish(data: bytes, crc: int) -> int:
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc
