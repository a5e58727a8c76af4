# SPDX-License-Identifier: Apache-2.0
# R rank   H host of the plan, by its smallest rank   J NVLink domain   N node   X byte value
"""What an exporter sees of a plan, and what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from placement.diag import Diagnostic, InputError
from placement.ir import Cluster, Strategy
from placement.ir._array import Ints
from placement.runtime import Flag, LoadedPlan, Section

Letters = npt.NDArray[np.bytes_]
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-\0"
_PLAIN_X = np.isin(np.arange(256), np.frombuffer(_PLAIN, np.uint8))


@dataclass(frozen=True)
class Export:
    """The files of one target: name -> bytes; and what the user should know before starting."""

    files: Mapping[str, bytes]
    warnings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Case:
    """A plan in the words of launchers. Hosts are numbered by their smallest rank: torch's GROUP_RANK, JAX's process id."""

    plan: LoadedPlan
    cluster: Cluster

    @property
    def digest(self) -> str:
        return self.plan.digest

    @property
    def world(self) -> int:
        return int(self.plan.bin.header["world_size"])

    @property
    def hosts(self) -> int:
        return int(self.plan.bin.header["num_hosts"])

    @property
    def slots(self) -> int:
        """GPUs a node."""
        return int(self.plan.bin.header["gpus_per_node"])

    @property
    def strategy(self) -> Strategy:
        return self.plan.strategy

    @property
    def whole(self) -> bool:
        """Every host of the plan gives all its GPUs."""
        return bool(Flag(int(self.plan.bin.header["flags"])) & Flag.WHOLE_NODES)

    @property
    def local_is_slot(self) -> bool:
        """Ranks ascend with the GPU slot on every host, so that a launcher's own local ranks are right."""
        return bool(Flag(int(self.plan.bin.header["flags"])) & Flag.LOCAL_RANK_IS_SLOT)

    @cached_property
    def _order_H(self) -> Ints:
        """Row of each host in the plan's host table."""
        return np.argsort(self.plan.bin[Section.HOSTS]["first_rank"].astype(np.int64), kind="stable")

    @cached_property
    def name_H(self) -> Letters:
        """Host names. Raises InputError for names that host files and scripts cannot hold."""
        name_H = self.plan.bin.name_column(self.plan.bin[Section.HOSTS])[self._order_H]
        ok_H = _PLAIN_X[name_H.view(np.uint8).reshape(len(name_H), -1)].all(axis=1)
        if not ok_H.all():
            message = "a host name has characters that launchers do not take"
            help_text = "give hosts names of letters, digits, `.`, `_` and `-` in the topology file"
            names = tuple(name.decode(errors="replace") for name in name_H[~ok_H][:100].tolist())
            raise InputError([Diagnostic("export/host-name", message, help=help_text, objects=names)])
        return name_H

    @cached_property
    def group_R(self) -> Ints:
        """Number of each rank's host."""
        group = np.empty(self.hosts, np.int64)
        group[self._order_H] = np.arange(self.hosts)
        group_R: Ints = group[self.plan.bin[Section.RANKS]["host"]]
        return group_R

    @cached_property
    def name_R(self) -> Letters:
        return self.name_H[self.group_R]

    @cached_property
    def slot_R(self) -> Ints:
        return self.plan.bin[Section.RANKS]["slot"].astype(np.int64)

    @cached_property
    def local_R(self) -> Ints:
        return self.plan.bin[Section.RANKS]["local_rank"].astype(np.int64)

    @cached_property
    def ranks_H(self) -> Ints:
        """How many ranks each host runs."""
        return self.plan.bin[Section.HOSTS]["num_ranks"][self._order_H].astype(np.int64)

    @cached_property
    def domain_H(self) -> Ints:
        return self.plan.bin[Section.HOSTS]["domain"][self._order_H].astype(np.int64)

    @cached_property
    def node_H(self) -> Ints:
        return self.plan.bin[Section.HOSTS]["node"][self._order_H].astype(np.int64)

    @cached_property
    def domain_name_J(self) -> Letters:
        return self.plan.bin.name_column(self.plan.bin[Section.DOMAINS])

    @cached_property
    def consecutive(self) -> bool:
        """Whole hosts whose ranks are consecutive: rank = host number * GPUs a node + local rank."""
        return self.whole and bool((self.group_R * self.slots + self.local_R == np.arange(self.world)).all())

    @property
    def master(self) -> str:
        """Host of rank 0."""
        return str(self.name_H[0].decode())

    @property
    def title(self) -> str:
        tree = self.plan.json
        return f"{tree['model']['name']} on {tree['cluster']['name']}: {self.world} ranks on {self.hosts} hosts"

    def stamp(self, mark: str = "#") -> bytes:
        """A comment line with the plan's digest."""
        return f"{mark} placement plan {self.digest}\n".encode()

    def readme(self, start: str, note: str) -> bytes:
        """Three lines: what this is, how to start it, what else to know."""
        return f"Plan {self.digest}, {self.title}.\nStart: {start}\nNote: {note}\n".encode()
