"""`python -m fim_bootstrap`, from the source tree or where pip installed it."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
