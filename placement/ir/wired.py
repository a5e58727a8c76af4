# SPDX-License-Identifier: Apache-2.0
# D device   C cable   E end of a cable (0, 1)   H host   L tier   U GPU
"""A fabric as wired, or as its plan says: devices, cables at ports, hosts. No pattern is assumed.

What a source does not say is "" in text, 0 in identities and speeds, -1 in counts and indices. Each record keeps the file and
line it came from (line 0: none), so that every finding can point at its evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from placement.ir._array import Floats, Ints, Strings, digest, freeze

Ids = npt.NDArray[np.uint64]


class Kind(IntEnum):
    """What a device is. A SERVICE device is part of a switch that shows up as an adapter (SHARP aggregation nodes)."""

    SWITCH = 0
    ADAPTER = 1
    SERVICE = 2
    ROUTER = 3


@dataclass(frozen=True)
class Devices:
    """Switch chips and network adapters.

    `name_D`   the switch, or the host that an adapter sits in (`a08-p1-dgx-04-c01`)
    `unit_D`   the adapter on its host (`mlx5_5`), or the chip of a chassis (`L16/U2`); "" where there is one only
    `text_D`   the description as written
    `guid_D`, `system_D`  identity of the device and of the box that it is part of
    `model_D`  switch or adapter type as the source calls it; `chip_D` PCI device id
    `ports_D`  ports it has, -1 unknown
    `hall_D`, `rack_D`, `place_D`  where it stands, as written (`place_D`: height unit, tray or slot)
    """

    kind_D: Ints
    name_D: Strings
    unit_D: Strings
    text_D: Strings
    guid_D: Ids
    system_D: Ids
    lid_D: Ints
    model_D: Strings
    chip_D: Ints
    ports_D: Ints
    hall_D: Strings
    rack_D: Strings
    place_D: Strings
    file_D: Ints
    line_D: Ints

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.kind_D)


@dataclass(frozen=True)
class Cables:
    """Physical links, each once. `back_C`: line at which the other end says the same, 0 if only one end is on record.

    `port_CE` port numbers, -1 unknown; `label_CE` index into `labels` of the port as written, where that is no plain number
    `Bps_C` bytes/s in one direction, 0 unknown; `rate_C` index into `rates` of the speed as written (`4xNDR`);
    `width_C` lanes, 0 unknown
    """

    device_CE: Ints
    port_CE: Ints
    label_CE: Ints
    labels: tuple[str, ...]
    Bps_C: Floats
    rate_C: Ints
    rates: tuple[str, ...]
    width_C: Ints
    file_C: Ints
    line_C: Ints
    back_C: Ints

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.device_CE)

    def port_text(self, cable: int, end: int) -> str:
        """The port as people know it: as written, or its number; `?` unknown."""
        written, number = self.labels[self.label_CE[cable, end]], int(self.port_CE[cable, end])
        return written or (str(number) if number >= 0 else "?")


@dataclass(frozen=True)
class Hosts:
    """What sources say about hosts beyond their cables: position, NVLink domain, groups of a scheduler or cloud.

    `group_HL`  name of the host's group at each tier of `tiers`, innermost first
    `domain_H`  NVLink domain: `<cluster uuid>.<clique>`, or the name of a block
    `gpus_H`    GPUs it has, -1 unknown; `nics_H` compute adapters, -1 unknown; `nic_Bps_H` speed of one, 0 unknown
    `state_H`   as written, where the source speaks of health (`OK`, `DEGRADED`, `down`)
    """

    name_H: Strings
    domain_H: Strings
    hall_H: Strings
    rack_H: Strings
    place_H: Strings
    tiers: tuple[str, ...]
    group_HL: Strings
    gpus_H: Ints
    gpu_name_H: Strings
    nics_H: Ints
    nic_Bps_H: Floats
    state_H: Strings
    file_H: Ints
    line_H: Ints

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.name_H)


@dataclass(frozen=True)
class Gpus:
    """GPUs one by one, where a source lists them. `nvlinks_U` active NVLinks, -1 unknown; `health_U` as written."""

    host_U: Ints
    slot_U: Ints
    name_U: Strings
    nvlinks_U: Ints
    nvlink_Bps_U: Floats
    domain_U: Strings
    health_U: Strings
    file_U: Ints
    line_U: Ints

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.host_U)


@dataclass(frozen=True)
class Wired:
    """Everything that one or several files say about a fabric.

    `planned`  the intended design, not what was found
    `logical`  a tree of groups (Slurm, topograph), not of cables: each "cable" leads from a child (end 0) to its parent (end 1)
               without ports or speed, and a host is an ADAPTER without unit
    """

    name: str
    format: str
    files: tuple[str, ...]
    device: Devices
    cable: Cables
    host: Hosts
    gpu: Gpus
    planned: bool = False
    logical: bool = False
    taken: str = field(default="", compare=False)  # when, as the capture says

    def digest(self) -> str:
        return digest(self)
