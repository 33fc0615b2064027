#!/usr/bin/python3
"""A replay of yum 3, which cannot be had any more: what it prints and how it exits, for the calls that are made.

The lines are those of yum 3.4.3 (cli.py, output.py). The packages are taken from /repo with rpm, so that what is
"installed" is there. Like the original it passes over a name that it does not know, and still exits 0 when
another name matched; skip_missing_names_on_install came later than EL 7.2 and is not known here.
"""

import glob
import os
import subprocess
import sys

WORDS = [word for word in sys.argv[1:] if not word.startswith("-")]
PACKAGES = {os.path.basename(path).rpartition("-")[0]: path for path in glob.glob("/repo/*.rpm")}
PID_FILE = "/var/run/yum.pid"


def installed(name: str) -> bool:
    """Whether rpm knows the package."""
    return subprocess.run(["rpm", "-q", name], capture_output=True, check=False).returncode == 0


def rpm(*words: str) -> None:
    """Run rpm as yum's transaction would."""
    subprocess.run(["rpm", "--nosignature", "--nodeps", *words], check=True, capture_output=True)


def main() -> int:  # noqa: C901
    """One call of yum: in one piece, so that it reads as the dialogue that was recorded."""
    command, names = WORDS[0], WORDS[1:]
    if os.path.exists(PID_FILE):
        with open(PID_FILE) as file:
            print(f"Existing lock {PID_FILE}: another copy is running as pid {file.read()}.", file=sys.stderr)
        print("Another app is currently holding the yum lock; exiting as configured by exit_on_lock", file=sys.stderr)
        return 200
    if not os.path.isdir("/repo"):
        print("Could not retrieve mirrorlist http://mirrorlist.centos.org/?release=7&arch=x86_64&repo=os error was")
        print('14: curl#6 - "Could not resolve host: mirrorlist.centos.org; Unknown error"')
        print("\n\n One of the configured repositories failed (Unknown),", file=sys.stderr)
        print(" Cannot find a valid baseurl for repo: base/7/x86_64", file=sys.stderr)
        return 1
    known = [name for name in names if name in PACKAGES]
    if command == "list":
        if not known:
            print("Error: No matching Packages to list", file=sys.stderr)
            return 1
        print("Available Packages")
        for name in known:
            full = f"{name}.x86_64"
            # a name that is wider than its column stands on a line of its own
            print(full if len(full) > 30 else f"{full:40}", end="\n" + " " * 40 if len(full) > 30 else "")
            print(f"{'2.5-34.el7':24}base")
        return 0
    if command == "makecache":
        return 0
    print("Loaded plugins: fastestmirror\nLoading mirror speeds from cached hostfile")
    for name in names:
        if name not in PACKAGES:
            print(f"No package {name} available.")
    if not known:
        print("Error: Nothing to do", file=sys.stderr)
        return 1
    for name in known:
        if command == "install" and installed(name):
            print(f"Package {name}-2.5-34.el7.x86_64 already installed and latest version")
        else:
            rpm("-i" if command == "install" else "-U", "--replacepkgs", PACKAGES[name])
    print("Complete!")
    return 0


sys.exit(main())
