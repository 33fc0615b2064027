"""Time a run that has nothing to do against other tools' runs for the same work, in turns, in one ready root.

As root, with the binary built: python -m bench.peers [ROUNDS]. Each tool comes from its own package into a folder
of the throw-away root; its source is written as its users would (bench/peers/).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import BINARY
from tests.fetched import SALT, fetched
from tests.managers.roots import ENVIRONMENT, FIM, Root, root

PEERS = Path(__file__).resolve().parent / "peers"
SOURCES = {"ansible-core": "ansible-core==2.19.14", "pyinfra": "pyinfra==3.10.0", "salt": SALT}
COMMANDS = {
    "shell script": "sh /bench/ready.sh",
    "binary": "/opt/fim-bootstrap/fim-bootstrap apply",
    "source": f"{FIM} apply",
    "ansible-core": "cd /bench/peers && LC_ALL=C.UTF-8 PYTHONPATH=/peers/ansible-core"
    " python3 -m ansible playbook playbook.yml",
    "pyinfra": "cd /bench/peers && PYTHONPATH=/peers/pyinfra python3 /peers/pyinfra/bin/pyinfra -y @local deploy.py",
    "salt": "PYTHONPATH=/peers/salt python3 /peers/salt/bin/salt-call --local --retcode-passthrough"
    " --file-root=/bench/peers state.apply state",
}


def furnish(here: Root) -> list[str]:
    """Make the root ready, and put the peers into it; the names of those that could be had."""
    here.publish()
    assert here.fim("apply").status == 0
    shutil.copy(BINARY, here.path / "opt/fim-bootstrap/fim-bootstrap")
    shutil.copytree(PEERS.parent, here.path / "bench")
    # Ansible's apt module works through it
    subprocess.run(["apt-get", "-qq", "download", "python3-apt", "python-apt-common"], check=True, cwd=here.path)
    here.run("dpkg --force-depends -i /python*-apt*.deb")
    names = ["shell script", "binary", "source"]
    for name, package in SOURCES.items():
        try:
            shutil.copytree(fetched(package), here.path / "peers" / name)
            names.append(name)
        except subprocess.CalledProcessError:
            print(f"{name}: {package} does not install here")
    return names


def seconds(here: Root, name: str) -> float:
    """Wall time of one run in the root; a run that fails says nothing about speed."""
    begun = time.perf_counter()
    done = subprocess.run(["chroot", str(here.path), "sh", "-c", COMMANDS[name]], env={**ENVIRONMENT, "HOME": "/root"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    took = time.perf_counter() - begun
    assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return took


def main() -> None:
    """Run all in turns."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with root("bookworm", 'ID=debian\nVERSION_ID="12"\n', "debian-12") as here:
        names = furnish(here)
        for name in list(names):
            try:
                seconds(here, name)  # the first run fills the caches
            except AssertionError as error:
                print(error)
                names.remove(name)
        times = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                times[name].append(seconds(here, name))
    ours = statistics.median(times["binary"])
    for name, taken in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(taken)
        print(f"{name:14} median {middle:6.3f} s  min {min(taken):6.3f}  max {max(taken):6.3f}  {middle / ours:6.1f} x")
    print(f"rounds {rounds}, load {os.getloadavg()[0]:.1f}; the factor is against the binary")


if __name__ == "__main__":
    main()
