"""The rules of this code, read off the syntax trees."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Collection
from graphlib import TopologicalSorter
from pathlib import Path

from tests.conftest import PROJECT, SLOW, needs_root

PACKAGE = sorted((PROJECT / "fim_bootstrap").rglob("*.py"))
NAMELESS = {"util", "utils", "helper", "helpers", "common", "base", "manager"}
FAILURES = {"BootstrapError", "Blocked", "Busy", "NeedsRoot", "Unsupported"}
WRITERS = {"unlink", "replace", "rename", "makedirs", "mkdir", "mkstemp", "fchmod", "chmod", "setxattr", "fsync"}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def calls(path: Path) -> set[str]:
    """What a file calls, as `name` or `os.name`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            function = node.func
            if isinstance(function, ast.Name):
                found.add(function.id)
            elif isinstance(function.value, ast.Name):
                found.add(f"{function.value.id}.{function.attr}")
    return found


def test_only_host_starts_processes_or_writes() -> None:
    for path in PACKAGE:
        if path.parent == PROJECT / "fim_bootstrap/host":
            continue
        assert not imports(path) & {"sh", "subprocess", "shutil", "tempfile"}, path
        assert not calls(path) & {f"os.{name}" for name in WRITERS}, path


def test_one_module_alone_prints() -> None:
    for path in PACKAGE:
        assert path.name == "output.py" or "print" not in calls(path), path


def test_each_failure_says_what_to_do() -> None:
    """One of the command line gets its command's help; one of a file says what has to stand there."""
    for path in PACKAGE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in FAILURES:
                assert len(node.args) + len(node.keywords) > 1, f"{path}:{node.lineno}"


def test_nothing_ends_the_process_below_the_command_line() -> None:
    for path in PACKAGE:
        assert not calls(path) & {"sys.exit", "exit", "os._exit"}, path


def test_requirements_see_facts_and_never_a_host() -> None:
    for path in (PROJECT / "fim_bootstrap/requirements").glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"Host", "Reader", "LiveHost"}, path


def test_the_agents_room_alone_knows_its_vendors_words() -> None:
    """Docstrings may cite the vendor."""
    words = re.compile(r"(?i)qualys|edr[-._]|\bfimc\b|UseAuditDispatcher|LogFileDir|HostIdSearchDir|audit_disp")
    for path in PACKAGE:
        if path.parent == PROJECT / "fim_bootstrap/agent":
            continue
        tree = ast.parse(path.read_text())
        told = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in told]
        assert not [node.value for node in texts if isinstance(node.value, str) and words.search(node.value)], path


def test_no_module_imports_in_a_circle() -> None:
    """Counted is what is imported with a module; an import inside a function is there to save time."""
    names = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path for path in PACKAGE
    }
    order = TopologicalSorter({name: imported_with(path, names) - {name} for name, path in names.items()})
    order.prepare()  # raises CycleError


def imported_with(path: Path, names: Collection[str]) -> set[str]:
    """The modules of this package that come in with one of them."""
    parts = path.relative_to(PROJECT).parent.parts
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            module = ".".join((*parts[: len(parts) - node.level + 1], *filter(None, [node.module])))
            found |= {f"{module}.{alias.name}" if f"{module}.{alias.name}" in names else module for alias in node.names}
    return found


def test_a_requirement_reads_on_two_screens() -> None:
    for path in (PROJECT / "fim_bootstrap/requirements").glob("*.py"):
        assert len(path.read_text().splitlines()) < 120, path


def test_no_room_without_a_name() -> None:
    assert not [path for path in PROJECT.rglob("*.py") if path.stem in NAMELESS and ".venv" not in path.parts]


def test_packaging_does_not_shadow_the_library_of_that_name() -> None:
    assert not (PROJECT / "packaging/__init__.py").exists()


def test_what_takes_minutes_is_marked_so() -> None:
    """A file without its folder's mark would boot guests in the fast tests."""
    for name in SLOW:
        for path in (PROJECT / "tests" / name).glob("test_*.py"):
            assert f"pytest.mark.{name}" in path.read_text(), path


def test_every_requirement_has_its_page_in_the_schema() -> None:
    import json

    from fim_bootstrap.requirements import IDS

    schema = json.loads((PROJECT / "schemas/report-1.json").read_text())
    assert set(schema["properties"]["requirements"]["items"]["properties"]["id"]["enum"]) == set(IDS)


def test_the_table_of_releases_is_the_one_of_the_profiles() -> None:
    """`make table` writes it."""
    page = (PROJECT / "docs/releases.md").read_text()
    assert runpy.run_path(str(PROJECT / "packaging/support_table.py"))["filled"](page) == page


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"(?ms)^```.*?^```|`[^`\n]*`")
HEADING = re.compile(r"(?m)^#+ (.*)$")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = CODE.sub(lambda code: "" if code[0].startswith("```") else code[0], page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def broken_links(page: Path) -> list[str]:
    """The links of a page to files and headings of the project that are not there."""
    found = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            found.append(link)
    return found


def test_no_link_leads_nowhere(tmp_path: Path) -> None:
    """The documents' links among each other."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert {page: broken for page in listed.stdout.split() if (broken := broken_links(PROJECT / page))} == {}
    (tmp_path / "a.md").write_text("# A `b` c\n[x](#a-b-c) [y](b.md) [z](a.md#d) `[code](c.md)`\n")
    assert broken_links(tmp_path / "a.md") == ["b.md", "a.md#d"]


def test_the_readme_is_a_page_and_not_a_book() -> None:
    assert len((PROJECT / "README.md").read_bytes()) <= 8192


@needs_root
def test_what_root_sets_up_belongs_to_whom_the_checkout_belongs(tmp_path: Path) -> None:
    """`sudo make apply`, then `make test` without sudo; what the environment's links lead to stays root's."""
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")  # pip has nothing to do
    python.chmod(0o755)
    (tmp_path / "interpreter").touch()
    (python.parent / "python3").symlink_to(tmp_path / "interpreter")
    (tmp_path / "tests").mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "tests/needs.sh"):
        shutil.copy(PROJECT / name, tmp_path / name)
    os.chown(tmp_path / "Makefile", 1234, 4321)
    subprocess.run(["make", "-s", ".venv/dev"], cwd=tmp_path, check=True)
    environment = [tmp_path / ".venv", *(tmp_path / ".venv").rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in environment} == {(1234, 4321)}
    assert (tmp_path / "interpreter").stat().st_uid == 0
