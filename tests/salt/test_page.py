"""docs/salt.md is true: its first lines are pasted on a machine that is master and minion at once, and its first
output is what they print, but for times."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cache import run
from tests.conftest import BINARY, PROJECT
from tests.fetched import SALT, SALT_LTS
from tests.managers.roots import ENVIRONMENT, Root
from tests.salt.fleet import QUIET, program
from tests.salt.roots import FORMULA, PROGRAMS, SHA256, kill_all, salt_root
from tests.sshd import free_port

pytestmark = pytest.mark.salt

PAGE = (PROJECT / "docs/salt.md").read_text()
BLOCKS = [(where, text) for where, text in re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", PAGE)]
TIMES = re.compile(r"(?m)(?<=Started: ).*|(?<=Duration: ).*|(?<=Total run time: ).*")
STARTER = '#!/bin/sh\nexec env {programs}{name} "$@"\n'


@contextlib.contextmanager
def machine() -> Iterator[Root]:
    """A root with the released files in /opt, whose Salt is master and minion, and its minion has answered."""
    with salt_root() as here:
        shutil.copytree(FORMULA, here.path / "opt/release/packaging/salt")
        (here.path / "opt/release/dist").mkdir()
        shutil.copy(BINARY, here.path / "opt/release/dist")
        for name in ("salt", "salt-call", "salt-run"):
            starter = here.path / "usr/local/bin" / name
            starter.write_text(STARTER.format(programs=PROGRAMS, name=name))
            starter.chmod(0o755)
        publish, ret = free_port(), free_port()
        (here.path / "etc/salt").mkdir()
        master = {**QUIET, "interface": "127.0.0.1", "publish_port": publish, "ret_port": ret, "auto_accept": True,
                  "worker_threads": 3, "timeout": 300, "gather_job_timeout": 60}  # fmt: skip
        minion = {**QUIET, "master": "127.0.0.1", "master_port": ret, "publish_port": publish, "id": "web1"}
        (here.path / "etc/salt/master").write_text(json.dumps(master))
        (here.path / "etc/salt/minion").write_text(json.dumps(minion))
        daemons = [started(here, name) for name in ("salt-master", "salt-minion")]
        try:
            deadline = time.monotonic() + 300
            while "True" not in here.run("salt --timeout=10 web1 test.ping", check=False).out:
                assert time.monotonic() < deadline
                time.sleep(1)
            yield here
        finally:
            kill_all(here)
            for daemon in daemons:
                daemon.wait()


def started(here: Root, name: str) -> subprocess.Popen[bytes]:
    """One of Salt's daemons in the root."""
    argv = ["chroot", str(here.path), "sh", "-c", f"exec env {PROGRAMS}{name} > /{name}.log 2>&1"]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, env=ENVIRONMENT)


def test_the_first_lines_of_the_page_print_its_first_output() -> None:
    (language, lines), (_, promised) = BLOCKS[:2]
    assert language == "sh"
    with machine() as here:
        printed = ""
        for line in lines.splitlines():
            ran = here.run(f"cd /opt/release/packaging/salt && {line}")
            printed = ran.out
        assert TIMES.sub("…", printed).strip() == TIMES.sub("…", promised).strip(), printed
        again = here.run(lines.splitlines()[-1]).out
        assert "Comment: ready\n" in again
        assert "Succeeded: 3\nFailed:    0\n" in again


@pytest.mark.parametrize("salt", [*dict.fromkeys((SALT, SALT_LTS))])
def test_the_git_remote_of_the_page_has_the_formula_and_the_root_beside_it_the_binary(
    tmp_path: Path, salt: str
) -> None:
    """Modules, states and the templates that import each other come from a tag; nothing is applied here."""
    repository, beside = tmp_path / "fim-bootstrap.git", tmp_path / "srv/salt"
    shutil.copytree(FORMULA, repository / "packaging/salt")
    git = ("git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"], ["tag", "v0.1.0"], ["rm", "-rq", "."],
                  ["commit", "-q", "-m", "y"]):  # fmt: skip
        run(*git, *words)
    (beside / "fim_bootstrap/files").mkdir(parents=True)
    shutil.copy(BINARY, beside / "fim_bootstrap/files/fim-bootstrap")
    (shown,) = (text for language, text in BLOCKS if language == "yaml")
    places = {"https://git.example.org/fim-bootstrap.git": f"file://{repository}", "/srv/salt": str(beside)}
    for example, here in places.items():
        assert example in shown
        shown = shown.replace(example, here)
    (tmp_path / "etc").mkdir()
    own = {**QUIET, "file_client": "local", "root_dir": str(tmp_path), "gitfs_provider": "gitpython"}
    lines = (f"{key}: {json.dumps(value)}\n" for key, value in own.items())
    (tmp_path / "etc/minion").write_text(shown + "".join(lines))

    def answer(words: str) -> Any:
        ran = program("salt-call", tmp_path, f"--out=json {words}", salt=salt)
        assert ran.status == 0, ran.out + ran.err
        return json.loads(ran.out)["local"]

    synced = answer("saltutil.sync_all")
    assert synced["modules"] == ["modules.fim_bootstrap"]
    assert "fim-bootstrap-ready" in answer("state.show_sls fim_bootstrap")
    staged = answer(f"fim_bootstrap.staged salt://fim_bootstrap/files/fim-bootstrap {SHA256}")
    assert staged.startswith(f"{tmp_path}/")
    assert answer(f"fim_bootstrap.pinned {SHA256} {staged}") is True
