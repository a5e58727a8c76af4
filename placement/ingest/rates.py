# SPDX-License-Identifier: Apache-2.0
"""Speeds as fabrics write them: `4xNDR`, `400G`, `200000` (Mb/s).

Nominal Gb/s of one InfiniBand lane: IBTA roadmap (SDR 2.5, DDR 5, QDR 10, FDR10 10, FDR 14, EDR 25, HDR 50, NDR 100, XDR 200).
"""

from __future__ import annotations

import re
from functools import cache

NOMINAL_GBPS = {
    "SDR": 2.5, "DDR": 5.0, "QDR": 10.0, "FDR10": 10.0, "FDR": 14.0, "EDR": 25.0, "HDR": 50.0, "NDR": 100.0, "XDR": 200.0,
}  # fmt: skip
_INFINIBAND = re.compile(r"(\d{1,2})x?\s*([A-Z]+\d{0,2})\Z", re.ASCII)
_ETHERNET = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)\s*(T|G|M|)(?:b(?:ps|/s|it/s)?|E)?\Z", re.ASCII | re.IGNORECASE)


@cache
def rate_Bps(text: str) -> float:
    """Bytes/s in one direction; 0.0 where the text is no speed. A bare number is Mb/s, as cabling sheets and ethtool write it.

    >>> rate_Bps("4xNDR"), rate_Bps("400G"), rate_Bps("200000"), rate_Bps("fast")
    (50000000000.0, 50000000000.0, 25000000000.0, 0.0)
    """
    text = text.strip()
    if match := _INFINIBAND.match(text):
        return int(match[1]) * NOMINAL_GBPS.get(match[2], 0.0) * 1e9 / 8
    if match := _ETHERNET.match(text):
        return float(match[1]) * {"T": 1e12, "G": 1e9, "M": 1e6, "": 1e6}[match[2].upper()] / 8
    return 0.0


@cache
def lanes(text: str) -> int:
    """Width of a link as written (`4xNDR` has 4 lanes); 0 unknown."""
    match = _INFINIBAND.match(text.strip())
    return int(match[1]) if match else 0
