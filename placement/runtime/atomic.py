# SPDX-License-Identifier: Apache-2.0
"""A directory that appears whole or not at all, whatever stops the writer."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from placement.diag import Diagnostic, InputError, Label, Span

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_YOUNG_S = 60.0
_REASONS = {
    errno.ENOSPC: ("disk-full", "no space left on the device", "free some space, or write to another disk with `-o`"),
    errno.EDQUOT: ("disk-full", "the disk quota is used up", "free some space, or write to another disk with `-o`"),
    errno.EFBIG: ("disk-full", "the file would be larger than the limit of this process", "raise `ulimit -f`"),
    errno.EACCES: ("not-writable", "permission denied", "choose a directory that you may write to with `-o`"),
    errno.EPERM: ("not-writable", "operation not permitted", "choose a directory that you may write to with `-o`"),
    errno.EROFS: ("not-writable", "the file system is read-only", "choose a directory that you may write to with `-o`"),
    errno.ENOTDIR: ("not-writable", "a part of the path is a file", "choose another directory with `-o`"),
    errno.ENAMETOOLONG: ("not-writable", "the path is too long", "choose a shorter path with `-o`"),
}


def replace_directory(
    out: Path, files: Mapping[str, bytes], owned: Collection[str], *, mark: str = "plan.json", what: str = "plan"
) -> None:
    """Make `out` a directory of exactly `files` (relative name -> bytes).

    An existing `out` must be empty, or have the file `mark` and nothing but names of `owned`. Until the one system call that
    swaps the directories, `out` is as it was; all data is on the disk before. Raises InputError.
    """
    out = Path(os.path.realpath(out))  # a link to a plan directory stays a link
    try:
        _check_replaceable(out, owned, mark, what)
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        fresh = out.parent / f".{out.name[:200]}.{secrets.token_hex(6)}.tmp"
        try:
            with _held(fresh):
                _fill(fresh, files)
                _swap(fresh, out)
                _sync(out.parent)
        finally:
            _remove(fresh)  # half-written, or the plan that was replaced
    except OSError as error:
        name, reason, fix = _REASONS.get(error.errno or 0, ("not-writable", error.strerror or str(error), ""))
        raise _refuse(name, f"cannot write the {what} directory: {reason}", out, fix) from None


def _check_replaceable(out: Path, owned: Collection[str], mark: str, what: str) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise _refuse("not-a-directory", "the output path is a file", out, "name a directory with `-o`")
    names = {path.name for path in out.iterdir() if not _left_over(path.name, owned)}
    if names and (foreign := sorted(names - set(owned) or (names if mark not in names else set()))):
        message = f"the directory holds files that are no part of the {what}: {', '.join(foreign[:5])}"
        raise _refuse("directory-not-empty", message, out, "move them away, or name another directory with `-o`")


def _left_over(name: str, owned: Collection[str]) -> bool:
    """The half-written new version of a file of ours, whose writer was killed."""
    return name.endswith(".tmp") and any(name.startswith(f".{mine}.") for mine in owned)


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """A new directory under a lock that goes with the process: what nobody holds was left by a writer that was killed."""
    directory.mkdir()
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sweep(out: Path) -> None:
    """Remove what killed writers of `out` left beside it. Young directories stay: their writer may not hold them yet."""
    for left in out.parent.glob(f".{glob.escape(out.name[:200])}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime < _YOUNG_S or not left.is_dir():
                continue
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(left)
            finally:
                os.close(handle)


def _fill(fresh: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for directory in {(fresh / name).parent for name in files} | {fresh}:
        _sync(directory)


def _swap(fresh: Path, out: Path) -> None:
    """Put `fresh` at `out`; what was there is at `fresh` afterwards."""
    if not out.exists():
        fresh.rename(out)
    elif not _exchange(fresh, out):
        _rename_twice(fresh, out)


def _exchange(a: Path, b: Path) -> bool:
    """Exchange two directories in one system call; False where the system or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def _rename_twice(fresh: Path, out: Path) -> None:
    old = fresh.with_suffix(".old")
    out.rename(old)
    try:
        fresh.rename(out)
    except BaseException:
        old.rename(out)
        raise
    old.rename(fresh)


def _remove(directory: Path) -> None:
    """Also when Ctrl-C comes while it is at it."""
    try:
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot sync directories
            os.fsync(handle)
    finally:
        os.close(handle)


def _refuse(name: str, message: str, out: Path, fix: str) -> InputError:
    return InputError([Diagnostic(f"plan/{name}", message, primary=Label(Span(str(out))), help=fix)])
