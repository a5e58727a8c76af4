# SPDX-License-Identifier: Apache-2.0
# D device   C cable   H host   U GPU
"""Several files of one fabric as one value: devices that are the same by GUID, or by name and unit, are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from placement.ir import Cables, Devices, Gpus, Hosts, Wired
from placement.ir._array import Ints, Strings

Table = TypeVar("Table", Devices, Cables, Gpus)


def merge(values: Sequence[Wired]) -> Wired:
    """One value of all; the first that says something about a device or host is believed. `values` is not empty."""
    if len(values) == 1:
        return values[0]
    files: list[str] = []
    tables: list[Wired] = []
    for value in values:
        tables.append(_shifted(value, len(files)))
        files.extend(value.files)
    device, of_D = _devices([t.device for t in tables])
    host, of_H = _hosts([t.host for t in tables])
    first = values[0]
    return Wired(
        first.name, "+".join(dict.fromkeys(v.format for v in values)), tuple(files), device,
        _cables([t.cable for t in tables], of_D, [len(t.device) for t in tables]),
        host, _gpus([t.gpu for t in tables], of_H, [len(t.host) for t in tables]),
        all(v.planned for v in values), all(v.logical for v in values), first.taken,
    )  # fmt: skip


def _shifted(value: Wired, first: int) -> Wired:
    """The same with its file numbers moved on by `first`."""
    device, cable, host, gpu = value.device, value.cable, value.host, value.gpu
    return replace(
        value,
        device=replace(device, file_D=device.file_D + first),
        cable=replace(cable, file_C=cable.file_C + first),
        host=replace(host, file_H=host.file_H + first),
        gpu=replace(gpu, file_U=gpu.file_U + first),
    )


def _stacked(tables: Sequence[Table]) -> dict[str, Any]:
    """Array columns of equal tables, one after the other."""
    names = [f.name for f in fields(tables[0]) if isinstance(getattr(tables[0], f.name), np.ndarray)]
    return {n: np.concatenate([getattr(t, n) for t in tables]) for n in names}


def _first(keys: Sequence[str]) -> tuple[Ints, Ints]:
    """(indices of the first of each key, in order; new index of each)."""
    seen: dict[str, int] = {}
    of = np.array([seen.setdefault(k, len(seen)) for k in keys], np.int64)
    first = np.full(len(seen), len(keys), np.int64)
    np.minimum.at(first, of, np.arange(len(keys)))
    return first, of


def _devices(tables: Sequence[Devices]) -> tuple[Devices, Ints]:
    all_D = Devices(**_stacked(tables))
    keys, seen = [], 0
    for table in tables:  # twins inside one file are a finding and stay two
        count: dict[str, int] = {}
        for index in range(len(table)):
            guid = int(table.guid_D[index])
            key = f"{guid:x}" if guid else f"{table.name_D[index]}\0{table.unit_D[index]}".casefold()
            count[key] = count.get(key, 0) + 1
            keys.append(f"{key}\0{count[key]}")
        seen += len(table)
    assert seen == len(all_D)
    first, of_D = _first(keys)
    return Devices(**{f.name: getattr(all_D, f.name)[first] for f in fields(all_D)}), of_D


def _cables(tables: Sequence[Cables], of_D: Ints, devices: Sequence[int]) -> Cables:
    """Cables of all; the same ports at both ends in two files is one cable."""
    start = np.r_[0, np.cumsum(devices)]
    labels, rates = _union([t.labels for t in tables]), _union([t.rates for t in tables])
    moved = [
        replace(
            t,
            device_CE=of_D[t.device_CE + start[i]],
            label_CE=_recoded(t.labels, labels)[t.label_CE],
            rate_C=_recoded(t.rates, rates)[t.rate_C],
        )
        for i, t in enumerate(tables)
    ]
    columns = _stacked(moved)
    end_CE = np.stack([columns["device_CE"], columns["port_CE"], columns["label_CE"]], axis=2)
    swap_C = (end_CE[:, 0] > end_CE[:, 1]).any(axis=1) & (end_CE[:, 0, 0] >= end_CE[:, 1, 0])
    key_CE = np.where(swap_C[:, None, None], end_CE[:, ::-1], end_CE).reshape(len(end_CE), 6)
    known_C = (columns["port_CE"] >= 0).all(axis=1)
    file_C = columns["file_C"]
    _, first, of_C = np.unique(key_CE, axis=0, return_index=True, return_inverse=True)
    keep_C = ~known_C | (file_C == file_C[first[of_C.ravel()]])
    return Cables(labels=labels, rates=rates, **{n: a[keep_C] for n, a in columns.items()})


def _union(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for texts in lists for text in texts))


def _recoded(old: tuple[str, ...], new: tuple[str, ...]) -> Ints:
    place = {text: index for index, text in enumerate(new)}
    return np.array([place[text] for text in old], np.int64)


def _hosts(tables: Sequence[Hosts]) -> tuple[Hosts, Ints]:
    """Hosts by name; later files fill what earlier ones do not say."""
    tiers = _union([t.tiers for t in tables])
    names = [str(n) for t in tables for n in t.name_H]
    first, of_H = _first(names)
    group_HL = np.concatenate([_widened(t, tiers) for t in tables])
    columns = {f.name: np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(Hosts) if f.name.endswith("_H")}
    columns = {n: _filled(a, of_H, first) for n, a in columns.items()}
    group = [_filled(group_HL[:, k], of_H, first) for k in range(len(tiers))]
    return Hosts(
        tiers=tiers, group_HL=np.stack(group, axis=1) if group else np.zeros((len(first), 0), "U1"), **columns
    ), of_H  # fmt: skip


def _widened(table: Hosts, tiers: tuple[str, ...]) -> Strings:
    out = np.zeros((len(table), len(tiers)), table.group_HL.dtype if table.group_HL.size else "U1")
    for column, tier in enumerate(table.tiers):
        out[:, tiers.index(tier)] = table.group_HL[:, column]
    return out


def _filled(values: Any, of_H: Ints, first: Ints) -> Any:
    """The first value of each host that says something."""
    empty = values == "" if values.dtype.kind == "U" else values <= 0 if values.dtype.kind == "f" else values < 0
    out = values[first].copy()
    for index in np.flatnonzero(~empty)[::-1]:
        out[of_H[index]] = values[index]
    return out


def _gpus(tables: Sequence[Gpus], of_H: Ints, hosts: Sequence[int]) -> Gpus:
    start = np.r_[0, np.cumsum(hosts)]
    return Gpus(**_stacked([replace(t, host_U=of_H[t.host_U + start[i]]) for i, t in enumerate(tables)]))
