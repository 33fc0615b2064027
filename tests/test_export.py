"""--report: a regular file is put there whole, what is no file stays what it is, and all is settled before the run."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fim_bootstrap import cli, export
from tests.conftest import PROJECT, Tree, fim, needs_root

RULES = "/etc/audit/rules.d/99-finalize.rules"


@pytest.fixture
def frozen(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree in which `apply` has something to do, and a pipe that nobody reads is not waited for."""
    tree.write(RULES, "-e 2\n")
    monkeypatch.setattr(export, "PATIENCE", 0.3)
    return tree


def run(tree: Tree, command: str, report: str) -> int:
    return cli.main([command, "--root", str(tree.folder), "--format", "json", "--report", report])


@needs_root
@pytest.mark.parametrize("device", [(1, 3), (1, 7)], ids=["null", "full"])
def test_a_device_stays_one(
    frozen: Tree, tmp_path: Path, device: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    node = tmp_path / "node"
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(*device))
        os.close(os.open(node, os.O_WRONLY))
    except PermissionError:
        pytest.skip("no device can be made or opened here")
    link = tmp_path / "link"
    link.symlink_to(node)
    for path in (node, link):
        status = run(frozen, "check", str(path))
        said = capfd.readouterr()
        assert json.loads(said.out)["verdict"] == "not-ready"
        lost = "the report did not get there whole" in said.err
        assert (status, lost) == ((3, False) if device == (1, 3) else (1, True))
    assert stat.S_ISCHR(node.lstat().st_mode)
    assert link.is_symlink()


@needs_root
def test_a_pipe_with_a_reader_gets_the_report(frozen: Tree, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    status = run(frozen, "apply", str(pipe))
    reader.join(20)
    assert (status, json.loads(got[0])["verdict"]) == (0, "ready")
    assert pipe.is_fifo()


@needs_root
def test_what_cannot_take_a_report_is_refused_before_anything_is_changed(
    frozen: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "to-nothing").symlink_to("nothing")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    places = {"folder": "is a folder", "to-file": "is a symbolic link", "to-nothing": "is a symbolic link",
              "circle": "symbolic link", "pipe": "cannot be written", "socket": "is a socket",
              "disk": "is a block device", "none/report": "is no folder",
              "file/report": "cannot be written", "none/": "is no folder"}  # fmt: skip
    before = frozen.read(RULES)
    kinds = {path: path.lstat().st_mode for path in tmp_path.iterdir() if path.name != "root"}
    asked = {f"{tmp_path}/{name}": why for name, why in places.items()}
    for name, said in {**asked, "-": "is no file"}.items():
        assert run(frozen, "apply", name) == 64, name
        assert said in capsys.readouterr().err, name
    monkeypatch.setenv("FIM_BOOTSTRAP_REPORT", str(tmp_path / "folder"))
    assert cli.main(["apply", "--root", str(frozen.folder)]) == 64
    assert frozen.read(RULES) == before
    assert not frozen.path("/var/lib/fim-bootstrap").exists()
    assert {path: path.lstat().st_mode for path in kinds} == kinds
    assert (tmp_path / "file").read_text() == "theirs"


def test_stdout_is_written_through_where_it_stands(tree: Tree, tmp_path: Path) -> None:
    """Opened anew, /dev/stdout would be written over from its beginning."""
    for name in ("/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "/proc/thread-self/fd/1"):
        with (tmp_path / "out").open("w") as out:
            out.write("before\n")
            out.flush()
            argv = [sys.executable, str(PROJECT / "bootstrap.py"), "check", "--root", str(tree.folder)]
            assert subprocess.run([*argv, "--report", name], stdout=out, check=False).returncode == 3
        text = (tmp_path / "out").read_text()
        head, _, rest = text.partition("\n")
        document, end = json.JSONDecoder().raw_decode(rest)
        assert (head, document["verdict"]) == ("before", "not-ready")
        assert rest[end:].startswith(f"\n{tree.folder}: Debian")
    assert fim("check", "--root", str(tree.folder), "--report", "/dev/stdin").status == 64


def test_a_run_that_ends_in_an_error_leaves_its_report_too(tree: Tree, tmp_path: Path) -> None:
    tree.write("/etc/os-release", "ID=haiku\n")
    (tmp_path / "report").write_text("of last time")
    assert run(tree, "check", str(tmp_path / "report")) == 69
    assert json.loads((tmp_path / "report").read_text())["verdict"] == "unsupported"
