"""With --root nothing is touched outside the tree, wherever its links seem to lead: every path of a real run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ALONE, PROJECT, Tree, needs_root

# each of these is a link by which the tree's own file is reached, and the builder's, were it followed as it is written
LINKS = ("/etc/os-release", "/etc/fim-bootstrap/profiles.d", "/etc/audit", "/etc/selinux", "/lib", "/usr/sbin",
         "/var/lib/fim-bootstrap", "/var/lib/selinux", "/usr/local/qualys", "/var/log", "/proc", "/etc/systemd",
         "/var/lib/dpkg", "/run")  # fmt: skip
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
FILE_CALLS = "trace=%file"


@pytest.fixture
def linked(tree: Tree) -> Tree:
    """A tree whose folders all lie elsewhere in it, behind absolute links."""
    profile = '[mine]\nlike = "debian-12"\ntitle = "Mine"\nids = ["mine"]\n'
    tree.write("/etc/fim-bootstrap/profiles.d/mine.toml", profile)
    tree.path("/etc/os-release").unlink()
    tree.write("/etc/os-release", "ID=mine\nVERSION_ID=1\n")
    tree.write("/etc/selinux/config", "SELINUX=permissive\nSELINUXTYPE=targeted\n")
    tree.write("/etc/selinux/targeted/policy/policy.33", "")
    tree.write("/var/lib/selinux/targeted/active/modules/400/fim_bootstrap/cil", "")
    tree.write("/var/lib/dpkg/status", "")
    tree.write("/usr/local/qualys/cloud-agent/bin/qualys-cloud-agent", "")
    tree.write("/etc/audit/rules.d/99.rules", "-e 2\n")
    tree.link("/etc/fim-bootstrap/profiles.d/gone.toml.bak", "/nowhere")
    for name in LINKS:
        place = f"/static{name}"
        tree.path(place).parent.mkdir(parents=True, exist_ok=True)
        if tree.path(name).exists():
            tree.path(name).rename(tree.path(place))
        else:
            tree.path(place).mkdir()
        tree.link(name, place)
    return tree


def outside(tree: Tree, argv: list[str]) -> set[str]:
    """The paths that a run touches outside the tree, but for the interpreter's and the program's own."""
    trace = tree.folder.parent / "trace"
    script = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\nfrom fim_bootstrap.cli import main\n"
    script += "open('/proc/self/comm')\nsys.exit(main(sys.argv[1:]))"
    words = ["strace", "-qq", "-s", "4096", "-o", str(trace), "-e", FILE_CALLS, sys.executable, "-c", script]
    done = subprocess.run([*words, *argv], capture_output=True, check=False, env=ALONE)
    assert done.returncode in (0, 3), done
    lines = trace.read_text(errors="replace").partition('"/proc/self/comm"')[2].splitlines()
    assert len(lines) > 50
    own = (str(PROJECT), sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix), str(PROJECT / ".venv"))
    root = os.path.realpath(tree.folder)
    found = set()
    # distro, while it is imported, looks whether this machine has such a file; it is not opened
    touched = [line for line in lines if not ("stat" in line.partition("(")[0] and '"/etc/os-release"' in line)]
    for path in (path for line in touched for path in PATH.findall(line.rpartition(" = ")[0])[:1]):
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        followed = os.path.realpath(path) if "NOFOLLOW" not in path else real
        above = any(f"{place}/".startswith(f"{os.path.realpath(path)}/") for place in (root, *own))
        if not path.startswith("/") or path.startswith(own) or above:
            continue
        if not (f"{real}/".startswith(f"{root}/") and (os.path.islink(path) or f"{followed}/".startswith(f"{root}/"))):
            found.add(path)
    return found


# what the run itself is told by, and what glibc and the interpreter look at
OUR_OWN = {"/etc/fim-bootstrap/config.toml", "/etc/localtime", "/proc/self/fd", "/etc/ld.so.cache", "/dev/null"}


@needs_root
@pytest.mark.parametrize("words", [("check",), ("facts",), ("profiles",), ("apply", "--only", "rules"), ("revert",)])
def test_no_path_that_is_touched_lies_outside_the_tree(linked: Tree, words: tuple[str, ...]) -> None:
    if not Path("/usr/bin/strace").exists():
        pytest.skip("needs strace")
    assert outside(linked, [*words, "--root", str(linked.folder)]) - OUR_OWN == set()


@needs_root
def test_what_is_read_behind_the_links_counts(linked: Tree) -> None:
    ran = linked.fim("check", "--format", "json")
    assert (ran.report["host"]["profile"], ran.report["host"]["os"]["id"]) == ("mine", "mine")
    assert "/etc/audit/rules.d/99.rules:1: -e 2" in ran.out
    linked.link("/static/etc/fim-bootstrap/profiles.d/gone.toml", "/nowhere")
    refused = linked.fim("check")
    assert (refused.status, "cannot be read: No such file" in refused.err) == (78, True)
