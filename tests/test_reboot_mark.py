"""`apply --reboot mark`: one mark, where the system's own tooling looks for it."""

from __future__ import annotations

import pytest

from fim_bootstrap import reboot_mark
from fim_bootstrap.reboot_mark import NEEDED, PACKAGES, REQUIRED
from tests.dict_host import DictHost


def text(host: DictHost, path: str) -> str:
    """What stands in a file."""
    file = host.read(path)
    assert file
    return file.text


def test_debian_gets_its_file_and_our_name_once(dict_host: DictHost) -> None:
    for _ in range(2):
        assert REQUIRED in reboot_mark.leave(dict_host, ("apt",))
    assert text(dict_host, REQUIRED) == "*** System restart required ***\n"
    assert text(dict_host, PACKAGES) == "fim-bootstrap\n"
    assert dict_host.nodes[REQUIRED].mode & 0o777 == dict_host.nodes[PACKAGES].mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("before", "after"),
    [("linux-image\n", "linux-image\nfim-bootstrap\n"), ("linux-image", "linux-image\nfim-bootstrap\n"),
     ("", "fim-bootstrap\n"), ("not-fim-bootstrap\n", "not-fim-bootstrap\nfim-bootstrap\n")],
)  # fmt: skip
def test_what_others_have_left_stays(dict_host: DictHost, before: str, after: str) -> None:
    dict_host.write(REQUIRED, "theirs\n")
    dict_host.write(PACKAGES, before)
    reboot_mark.leave(dict_host, ("apt",))
    assert (text(dict_host, REQUIRED), text(dict_host, PACKAGES)) == ("theirs\n", after)


@pytest.mark.parametrize("manager", ["zypper", "transactional-update"])
def test_suse_gets_its_file(dict_host: DictHost, manager: str) -> None:
    assert NEEDED in reboot_mark.leave(dict_host, (manager,))
    assert dict_host.stat(NEEDED)
    assert not dict_host.stat(REQUIRED)


def test_where_there_is_no_such_file_that_is_said(dict_host: DictHost) -> None:
    assert reboot_mark.leave(dict_host, ("dnf", "microdnf")) == (
        "a reboot is due; this system has no file that says so (fim-bootstrap reboot-required does)"
    )
    assert not [path for path in dict_host.nodes if path.startswith("/run/reboot")]
