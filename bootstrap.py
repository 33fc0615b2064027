#!/usr/bin/env python3
"""Run fim-bootstrap from source: `python3 bootstrap.py check`."""

import sys

if sys.version_info < (3, 9):  # noqa: UP036 - said here, before an import fails in a less helpful way
    sys.exit("fim-bootstrap: a source run needs Python 3.9 or newer; the one-file binary needs no Python")

from fim_bootstrap import __version__

if sys.argv[1:] == ["--version"]:  # before all that a real run imports
    print(f"fim-bootstrap {__version__}")
    sys.exit(0)

from fim_bootstrap.cli import main

if __name__ == "__main__":
    sys.exit(main())
