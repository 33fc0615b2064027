"""Write the pages that are made from the program's tables: `make table`."""

from __future__ import annotations

from pathlib import Path

from fim_bootstrap import explanations, manual

PROJECT = Path(__file__).resolve().parent.parent
PAGES = {
    "docs/options.md": manual.options_page,
    "docs/requirements.md": explanations.requirements_page,
    "packaging/fim-bootstrap.8": manual.man_page,
}

if __name__ == "__main__":
    for name, made in PAGES.items():
        (PROJECT / name).write_text(made())
