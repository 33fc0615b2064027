"""Where a path of a tree lies on this machine: an absolute link of the tree never leads out of it."""

from __future__ import annotations

import os

from ..errors import BootstrapError

MOST_LINKS = 256  # parts of a path, links followed, before it counts as a circle


def real(root: str, path: str) -> str:
    """The path with the links of the tree followed; raises BootstrapError where they lead in a circle."""
    if root == "/":
        return path
    done = root
    todo = [part for part in path.split("/") if part][::-1]
    for _ in range(MOST_LINKS):
        if not todo:
            return done
        part = todo.pop()
        if part == "..":
            done = done[: max(done.rfind("/"), len(root))]
            continue
        here = f"{done}/{part}"
        if not os.path.islink(here):
            done = here
            continue
        target = os.readlink(here)
        if target.startswith("/"):
            done = root
        todo += [piece for piece in target.split("/") if piece not in ("", ".")][::-1]
    raise BootstrapError(f"{path}: too many symbolic links", f"ls -l {path}")


def unfollowed(root: str, path: str) -> str:
    """Like `real`, but the last component is not followed."""
    folder, name = os.path.split(path)
    return os.path.join(real(root, folder), name)
