# SPDX-License-Identifier: Apache-2.0
"""One plan after another: while a plan is being repaired nobody else may, and a plan that has a successor says so."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from placement.diag import Diagnostic, Label, PlanError, Span

MARK = "superseded.json"
STATED = ("plan.json", "map.json")


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Hold a plan directory for one repair. The lock goes with the process, so a crash leaves none. Raises PlanError."""
    handle = _opened(directory)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = "another repair of this plan is under way"
                raise _refuse("locked", text, directory, "wait for it, then repair the plan that it writes") from None
            fresh = _opened(directory)
            if os.path.sameopenfile(handle, fresh):
                os.close(fresh)
                break
            os.close(handle)  # another repair put a new plan here since it was opened: that one is to be locked
            handle = fresh
        yield
    finally:
        os.close(handle)


def _opened(directory: Path) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        text = f"cannot read the directory: {error.strerror}"
        raise _refuse("unreadable", text, directory, "is it a plan directory?") from None


def require_current(directory: Path, digest: str, expected: str | None) -> None:
    """Refuse a plan that was repaired before, or that is not the one the caller knows. Raises PlanError."""
    if expected and not digest.startswith(expected.lower()):
        text = f"the plan has digest {digest[:12]}, not {expected[:12]}"
        raise _refuse("stale", text, directory, "look at what changed with `placement diff`, then repair the plan in force")
    mark = directory / MARK
    if not mark.exists():
        return
    try:
        by = json.loads(mark.read_text(encoding="utf-8"))
        said = f"{by['directory']} ({str(by['digest'])[:12]})"
    except (OSError, ValueError, KeyError, TypeError):
        said = "another plan"
    text = f"the plan has been repaired before: {said} took its place"
    raise _refuse("superseded", text, directory, "repair that plan, or make another branch from this one with `--again`")


def latest(directory: Path) -> Path:
    """The plan that took the place of this one, and of that one, as far as they are there; else the directory itself."""
    seen = {directory.resolve()}
    while True:
        try:
            after = (directory / json.loads((directory / MARK).read_text(encoding="utf-8"))["directory"]).resolve()
        except (OSError, ValueError, KeyError, TypeError):
            return directory
        if after in seen or _stated(after) is None:
            return directory
        seen.add(after)
        directory = after


def require_unchanged(directory: Path, digest: str) -> None:
    """Refuse if another plan has come into the directory since it was read. Raises PlanError."""
    stated = _stated(directory)
    try:
        there = "" if stated is None else json.loads(stated.read_bytes())["digest"]
    except (OSError, ValueError, KeyError):
        there = ""
    if there != digest:
        text = "the plan was replaced while it was being repaired"
        raise _refuse("stale", text, directory, "repair the plan that is there now")


def require_free(out: Path, directory: Path, digest: str) -> None:
    """A repair writes to a new directory, over the plan that it repairs, or over itself; never over another plan."""
    if out.resolve() == directory.resolve() or _stated(out) is None:
        return
    try:
        parent = json.loads((out / "moves.json").read_bytes())["repairs"]
    except (OSError, ValueError, KeyError):
        parent = ""
    if parent != digest:
        raise _refuse("other-plan", "the output directory holds another plan", out, "name a new directory with `-o`")


def _stated(directory: Path) -> Path | None:
    """plan.json of a plan, map.json of a map; None where there is neither."""
    return next((directory / name for name in STATED if (directory / name).exists()), None)


def mark_superseded(directory: Path, out: Path, digest: str) -> bool:
    """Write into the old plan which one took its place. False where the old directory may not be written to."""
    text = json.dumps({"directory": os.path.relpath(out, directory), "digest": digest}, sort_keys=True) + "\n"
    fresh = directory / f".{MARK}.{os.getpid()}.tmp"
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(directory / MARK)
    except OSError:
        fresh.unlink(missing_ok=True)
        return False
    return True


def _refuse(name: str, message: str, path: Path, fix: str) -> PlanError:
    return PlanError([Diagnostic(f"repair/{name}", message, primary=Label(Span(str(path))), help=fix)])
