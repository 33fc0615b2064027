"""Fuzz for as long as is asked for: python -m tests.fuzz.campaign [SECONDS [SEED [CORPUS]]].

Prints executions and failures of every parser, and comparisons and disagreements with the real auditctl and auditd
of each release. CORPUS is a folder with rules/ and auditd_conf/ to start from, beside the built-in lines.
"""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from tests.fuzz import agreement, inputs, joining, oracle, targets

LIMIT = 2.0  # seconds for one execution; a parser that needs more hangs
SLICE = 200  # executions between two looks at the clock


@dataclass
class Tally:
    """What became of one target."""

    name: str
    count: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name:34} {self.count:9} executions, {len(self.failures)} failures"


def in_process(seconds: float, seed: int, rounds: int = sys.maxsize) -> list[Tally]:
    """Try the project's own parsers in turns for that time, or that many rounds."""
    signal.signal(signal.SIGALRM, _hangs)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        calls = targets.all_of(seed, Path(folder))
        tallies = {name: Tally(name) for name in calls}
        deadline = time.monotonic() + seconds
        for _ in range(rounds):
            if time.monotonic() > deadline:
                break
            for name, call in calls.items():
                begun = time.monotonic()
                for _ in range(SLICE):  # the cheap ones more often
                    _try(tallies[name], call)
                    if time.monotonic() - begun > 0.1:
                        break
    return list(tallies.values())


def with_judges(
    program: str, seconds: float, seed: int, corpus: Optional[Path], rounds: int = sys.maxsize
) -> list[Tally]:
    """Compare with the real program of every release for that time, or that many files."""
    whole = _texts(corpus / ("rules" if program == "auditctl" else "auditd_conf")) if corpus else []
    maker = (inputs.rules if program == "auditctl" else inputs.confs)(seed, whole)
    compare = agreement.about_rules if program == "auditctl" else agreement.about_conf
    tallies = []
    for suite in oracle.SUITES:
        tally = Tally(f"{program} of {suite}")
        tallies.append(tally)
        with oracle.judge(suite, program) as judge:
            deadline = time.monotonic() + seconds / len(oracle.SUITES)
            for number in range(rounds):
                if time.monotonic() > deadline:
                    break
                text = whole[number] if number < len(whole) else maker.text()
                tally.count += 1
                if said := compare(judge, text):
                    tally.failures.append(f"{said}: {text!r}")
    return tallies


def with_joiners(seconds: float, seed: int, rounds: int = sys.maxsize) -> list[Tally]:
    """Compare folders of rule files with the real augenrules, under both awks, and auditctl of every release."""
    maker, tallies = inputs.rules(seed), []
    pairs = [(suite, awk) for suite in oracle.SUITES for awk in joining.AWKS]
    for suite, awk in pairs:
        tally = Tally(f"augenrules of {suite} with {awk}")
        tallies.append(tally)
        with oracle.judge(suite, "auditctl") as judge, joining.joiner(suite, awk) as joiner:
            deadline = time.monotonic() + seconds / len(pairs)
            for _ in range(rounds):
                if time.monotonic() > deadline:
                    break
                files = maker.folder()
                tally.count += 1
                if said := agreement.about_rules_d(judge, joiner, files):
                    tally.failures.append(f"{said}: {[(file.path, file.text) for file in files]!r}")
    return tallies


def _texts(folder: Path) -> Sequence[str]:
    return [path.read_bytes().decode("utf-8", "surrogateescape") for path in sorted(folder.iterdir())]


def _try(tally: Tally, call: Callable[[], Any]) -> None:
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        tally.failures.append(f"{type(error).__name__} at {where.filename}:{where.lineno}: {error}"[:2000])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    tally.count += 1


def _hangs(number: int, frame: Any) -> None:
    raise TimeoutError(f"more than {LIMIT} seconds")


def main(words: Sequence[str]) -> int:
    """Run it all; 1 where anything was found."""
    seconds = float(words[0]) if words else 300.0
    seed = int(words[1]) if len(words) > 1 else time.time_ns() % 1_000_000
    corpus = Path(words[2]) if len(words) > 2 else None
    print(f"seed {seed}", flush=True)
    tallies = in_process(seconds / 2, seed)
    if oracle.available():
        for program in ("auditctl", "auditd"):
            tallies += with_judges(program, seconds / 6, seed, corpus)
        tallies += with_joiners(seconds / 6, seed)
    else:
        print("no judges: root and the packages of tests/needs.sh fuzz are needed")
    for tally in tallies:
        print(tally)
        for failure in tally.failures[:3]:
            print(f"    {failure}")
    judged = sum(tally.count for tally in tallies if " of " in tally.name)
    print(f"{sum(tally.count for tally in tallies) - judged} executions, {judged} comparisons, "
          f"{sum(len(tally.failures) for tally in tallies)} findings, "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")  # fmt: skip
    return int(any(tally.failures for tally in tallies))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
