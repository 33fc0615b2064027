"""`python -m fim_bootstrap` in the source tree, and what `pip install .` puts elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fim_bootstrap import __version__
from tests.conftest import PROJECT, Ran, Tree, fim
from tests.test_compliance import DATASTREAM


def ran(argv: list[str], folder: Path, **env: str) -> Ran:
    """A program, run in a folder."""
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False,
                          env={"PATH": os.environ["PATH"], **env})  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def test_the_package_runs_as_a_module(tree: Tree) -> None:
    seen = ran(
        [sys.executable, "-m", "fim_bootstrap", "check", "--root", str(tree.folder), "--format", "json"], PROJECT
    )
    assert (seen.status, seen.report["verdict"]) == (3, "not-ready"), seen.err
    assert ran([sys.executable, "-m", "fim_bootstrap", "--version"], PROJECT).out == f"fim-bootstrap {__version__}\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the project, without what it needs."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *offline, "-w", str(folder), str(PROJECT)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", str(folder), str(wheel)], check=True)
    return folder


def test_version_and_dependencies_stand_in_one_place_each(site: Path) -> None:
    (wheel,) = site.glob("*.whl")
    assert wheel.name == f"fim_bootstrap-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as content:
        lines = content.read(f"fim_bootstrap-{__version__}.dist-info/METADATA").decode().splitlines()
    wanted = [line.partition("; ")[0] for line in (PROJECT / "requirements.txt").read_text().splitlines()]
    assert [line[15:].partition(";")[0].strip() for line in lines if line.startswith("Requires-Dist: ")] == sorted(
        wanted
    )


def test_nothing_of_it_lies_beside_the_package(site: Path) -> None:
    folders = {path.name for path in site.iterdir() if path.suffix != ".whl"}
    assert folders == {"fim_bootstrap", "bin", f"fim_bootstrap-{__version__}.dist-info"}


def _told(ran: Ran) -> object:
    """What it says; of a report, what does not tell the time and how the program was started."""
    return ran.report["requirements"] if '"requirements"' in ran.out else ran.out


@pytest.mark.parametrize("program", ["-m fim_bootstrap", "bin/fim-bootstrap"])
def test_it_has_its_profiles_policy_units_and_control_ids(tree: Tree, site: Path, program: str) -> None:
    """What is installed says the same as the source, whatever data it needs for that."""
    argv = [sys.executable, *program.replace("bin/", f"{site}/bin/").split()]
    tree.write("/etc/audit/rules.d/99-finalize.rules", "# ansible-lockdown CIS baseline\n-e 2\n")
    tree.write("/etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=default\n")
    tree.write("/ds.xml", DATASTREAM)
    root = ("--root", str(tree.folder))
    for words in (
        ("profiles", "--format", "json"),
        ("apply", "--dry-run", "--guard", "--format", "json", *root),
        ("exception", *root, "--datastream", "/ds.xml", "--format", "ansible-lockdown"),
        ("cloud-config", "--url", "https://example.org/fim-bootstrap", "--sha256", "0" * 64),
    ):
        here, there = fim(*words), ran([*argv, *words], tree.folder, PYTHONPATH=str(site))
        assert (there.status, _told(there)) == (here.status, _told(here)), there.err
