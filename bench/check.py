"""Time `check` against a bare shell script that looks at the same things, in turns, in one run.

Prints the median of each, the ratio of the medians, the spread, and the peak memory of the check. Run it on
the host of interest, as root: python3 bench/check.py [ROUNDS]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = ["sh", str(HERE / "ready.sh")]
CHECK = [sys.executable, str(HERE.parent / "bootstrap.py"), "check"]


def seconds(argv: list[str]) -> float:
    """Wall time of one run."""
    begun = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - begun


def main() -> None:
    """Run both in turns."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for argv in (SCRIPT, CHECK):
        seconds(argv)  # the first run fills the caches
    script, check = zip(*((seconds(SCRIPT), seconds(CHECK)) for _ in range(rounds)))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    for name, times in (("shell script", script), ("check", check)):
        print(f"{name:12} median {statistics.median(times):.3f} s  min {min(times):.3f}  max {max(times):.3f}")
    print(f"ratio        {statistics.median(check) / statistics.median(script):.1f}   peak memory {peak:.0f} MB")
    print(f"rounds       {rounds}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
