#!/usr/bin/env python3
"""Run fim-bootstrap from source: `python3 bootstrap.py check`."""

import gc
import os
import sys

if sys.version_info < (3, 9):  # noqa: UP036 - said here, before an import fails in a less helpful way
    sys.exit("fim-bootstrap: a source run needs Python 3.9 or newer; the one-file binary needs no Python")

from fim_bootstrap import __version__

if sys.argv[1:] == ["--version"]:  # before all that a real run imports
    print(f"fim-bootstrap {__version__}")
    sys.exit(0)

gc.disable()  # what is imported stays, and need not be searched for garbage while it comes in
from fim_bootstrap.cli import main

gc.freeze()
gc.set_threshold(50_000)  # a run makes few reference cycles, and is over soon
gc.enable()

if __name__ == "__main__":
    os._exit(main())  # all is printed and on the disk; taking the interpreter down would only take time
