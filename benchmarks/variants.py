# SPDX-License-Identifier: Apache-2.0
"""The same fabric at other sizes: a topology file with one number changed."""

from __future__ import annotations

import re
from pathlib import Path


def resize(text: str, domains: int, was: int) -> str:
    """`text` with the one value `was` (the number of NVLink domains) replaced by `domains`. ValueError unless it stands once.

    >>> resize("racks: 3056  # of 3,056", 8, 3056)
    'racks: 8  # of 3,056'
    """
    changed, found = re.subn(rf"(?m)^([^#\n]*?:\s*){was}\b(?!\s*[\w-])", rf"\g<1>{domains}", text)
    if found != 1:
        raise ValueError(f"{was} is the value of {found} keys, not of one")
    return changed


def write(source: Path, folder: Path, gpus: int, *, was: int, domain_gpus: int) -> tuple[Path, int]:
    """A copy of `source` in `folder` with at least `gpus` GPUs in whole domains, and how many that is."""
    domains = -(-gpus // domain_gpus)
    path = folder / f"{source.stem}-{domains * domain_gpus}.yaml"
    path.write_text(resize(source.read_text(encoding="utf-8"), domains, was), encoding="utf-8")
    return path, domains * domain_gpus
