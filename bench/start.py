"""Time the binary's start against a bare interpreter, and a check of a ready tree against the source run.

python -m bench.start [ROUNDS], with the binary built. Goals: --version at most 10 times `python3 -S -c pass`,
the check at most 1.8 times the source run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import BINARY, PROJECT, Tree, fim


def seconds(argv: list[str]) -> float:
    """Wall time of one run."""
    begun = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def compare(title: str, one: list[str], other: list[str], rounds: int) -> None:
    """Both in turns, and the ratio of their medians."""
    first, second = zip(*((seconds(one), seconds(other)) for _ in range(rounds)))
    ratio = statistics.median(second) / statistics.median(first)
    spread = f"{min(first) * 1000:.0f}-{max(first) * 1000:.0f} and {min(second) * 1000:.0f}-{max(second) * 1000:.0f} ms"
    print(f"{title}: {statistics.median(first) * 1000:.0f} and {statistics.median(second) * 1000:.0f} ms"
          f" ({spread}), ratio {ratio:.1f}")  # fmt: skip


def main() -> None:
    """Both comparisons."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    python = "/usr/bin/python3"
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder) / "root")
        assert fim("apply", "--root", str(tree.folder)).status == 0
        words = ["check", "--root", str(tree.folder)]
        compare("python3 -S -c pass, --version", [python, "-S", "-c", "pass"], [str(BINARY), "--version"], rounds)
        compare("check from source, binary", [sys.executable, str(PROJECT / "bootstrap.py"), *words],
                [str(BINARY), *words], rounds)  # fmt: skip
    print(f"rounds {rounds}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
