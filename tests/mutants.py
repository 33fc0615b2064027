"""Small mistakes put into the program, one at a time: how many do the fast tests catch? `make mutants` runs this.

mutmut, because it runs for each mutant only the tests that call the function: an hour holds ten times as many as with
a tool that runs them all. A sample is drawn by a seed, so that a result can be had again (python -m tests.mutants SEED
SIZE). What survives is listed; survivors.txt beside this file says of some why they do not matter.
"""

from __future__ import annotations

import functools
import gc
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
GOAL = 0.9
CONFIG = """
[tool.mutmut]
source_paths = ["fim_bootstrap/"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "tests.mutants"]
pytest_add_cli_args_test_selection = [
    "tests", "--ignore=tests/test_install.py", "--ignore=tests/test_install_fetching.py",
    "--ignore=tests/test_repository.py", "--ignore=tests/test_hostile_inputs.py",
    "--deselect=tests/test_revert.py::test_every_kind_of_step_that_is_written_has_its_undo_or_needs_none_and_no_other_has",
    "--deselect=tests/test_revert.py::test_a_kind_of_step_is_written_where_its_undo_is",
]
also_copy = ["."]
"""
KILLED = frozenset((1, 3, 24, -24, 152, 255))  # a failing test, an error, out of time; mutmut's own statuses


def pytest_sessionstart() -> None:
    """Nothing is remembered: mutmut forks for each mutant from a process in which the tests have run already."""
    for found in gc.get_objects():
        if isinstance(found, functools._lru_cache_wrapper):
            found.cache_clear()


def drawn(folder: Path, seed: int, size: int) -> list[str]:
    """The names of the sample; mutmut makes all mutants when it is asked for none."""
    _mutmut(folder, "run", "none of them")
    names = [name for path in sorted(folder.glob("mutants/**/*.meta")) for name in _statuses(path)]
    return random.Random(seed).sample(names, min(size, len(names)))


def survivors(folder: Path, names: list[str]) -> list[str]:
    """Those that no test caught."""
    said = _mutmut(folder, "run", *names)
    statuses = {name: how for path in folder.glob("mutants/**/*.meta") for name, how in _statuses(path).items()}
    if all(statuses[name] is None for name in names):
        sys.exit(f"the tests do not pass without a mutant:\n{said[-3000:]}")
    return sorted(name for name in names if statuses[name] not in KILLED)


def _mutmut(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "mutmut", *words]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False).stdout


def _statuses(path: Path) -> dict[str, int | None]:
    found: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
    return found


def main(seed: int = 2026, size: int = 400) -> int:
    """Draw, run, and print what survived with its difference; 0 where the goal is met."""
    reasons = (PROJECT / "tests/survivors.txt").read_text().splitlines()
    known = {line.split()[0] for line in reasons if line[:1].strip("#")}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "project"
        shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".git", ".venv", "dist", "build", ".*_cache"))
        with (folder / "pyproject.toml").open("a") as file:
            file.write(CONFIG)
        names = drawn(folder, seed, size)
        left = survivors(folder, names)
        for name in left:
            subprocess.run([sys.executable, "-m", "mutmut", "show", name], cwd=folder, check=False)
    matter = [name for name in left if name not in known]
    print(f"seed {seed}: {len(names)} mutants, {len(names) - len(left)} caught, {len(left)} not,"
          f" of which {len(left) - len(matter)} do not matter")  # fmt: skip
    return 0 if len(matter) <= (1 - GOAL) * len(names) else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
