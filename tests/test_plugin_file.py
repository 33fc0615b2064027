"""Which plugin files the dispatcher's loader starts nothing by, and what follows for the host."""

from __future__ import annotations

import pytest

from fim_bootstrap import engine
from fim_bootstrap.agent import look, vendor
from fim_bootstrap.audit import auditd_conf
from fim_bootstrap.audit.auditd_conf import PATH as CONF
from fim_bootstrap.audit.plugin_file import problem, unfit, values
from fim_bootstrap.host.reader import File, Stat
from fim_bootstrap.model import Settings, Status
from tests.conftest import AUDITD_CONF, Tree
from tests.dict_host import DictHost
from tests.test_requirements import PROFILE, find
from tests.test_requirements import facts as ready

PATH = vendor.PLUGIN_FILES[3]
GOOD = f"""active = yes
direction = out
path = {vendor.PLUGIN_PROGRAM}
type = always
args = {vendor.SOCKET}
format = string
"""


def said(text: str = GOOD, mode: int = 0o640, uid: int = 0, by_group: bool = True, trouble: str = "") -> str:
    """What is wrong with such a file."""
    return problem(File(PATH, text, 1.0, trouble), Stat(PATH, 0o100000 | mode, uid, 1.0, len(text)), by_group)


@pytest.mark.parametrize("text", [
    GOOD, f"# note\n\n{GOOD}", GOOD.upper().replace(vendor.PLUGIN_PROGRAM.upper(), vendor.PLUGIN_PROGRAM),
    GOOD.removesuffix("\n"),  # what is lost is what is the default
    GOOD.replace(vendor.SOCKET, f"{vendor.SOCKET} more and more"), "active = no\nactive = yes\n",
    GOOD.replace("always", "builtin"), GOOD.replace("string", "binary"), GOOD + "# the end",
])  # fmt: skip
def test_a_file_that_is_taken(text: str) -> None:
    assert said(text) == ""


@pytest.mark.parametrize(("text", "why"), [
    ("", "active = no"), (GOOD.replace("active = yes\n", ""), "active = no"),
    (GOOD.replace("= yes", "= no"), "active = no"),
    (GOOD.replace("active = yes", "active=yes"), "line 1: active=yes: no"),
    (GOOD.replace("= yes", "= maybe"), "line 1: active = maybe: not one of yes, no"),
    (GOOD.replace("always", "sometimes"), "line 4: type = sometimes: not one of always, builtin"),
    (GOOD.replace("out", "in"), "line 2: direction = in: not one of out"),
    (GOOD.replace("string", "text"), "line 6: format = text: not one of binary, string"),
    (GOOD + "priority = 4\n", "line 7: priority = 4: no such setting"),
    (GOOD + "args = x", "line 7: args = x: the last line has no newline"),
    (GOOD.replace("active = yes\n", "") + "active = yes", "line 6: active = yes: the last line has no newline"),
    (GOOD + f"path = {vendor.PLUGIN_PROGRAM}", "line 7: path"),
    (GOOD.replace("= yes", "= yes # on"), "line 1: active = yes # on: more than one value"),
    (GOOD.replace("args = ", "args =\t"), "line 5: args"), (GOOD.replace("args = ", "args : "), "line 5: args"),
    (GOOD.replace(f"args = {vendor.SOCKET}", "args ="), "line 5: args ="),
])  # fmt: skip
def test_a_line_that_spoils_it_is_named(text: str, why: str) -> None:
    assert said(text).startswith(why)


def test_the_file_itself() -> None:
    assert said(uid=7).startswith("belongs to uid 7")
    assert said(mode=0o666).startswith("may be written by everybody")
    assert said(mode=0o660) == ""
    assert said(mode=0o660, by_group=False).startswith("may be written by its group")
    assert said(mode=0o602, by_group=False).startswith("may be written by everybody")
    assert said(mode=0o644, by_group=False) == ""
    assert said(trouble="a directory where a file should be", text="") == "a directory where a file should be"
    assert said(trouble="a symbolic link to /opt/edr.conf") == ""
    assert said(trouble="a symbolic link to /opt/edr.conf", text="") == "a symbolic link to /opt/edr.conf"
    assert problem(File(PATH, GOOD), None, True) == ""


@pytest.mark.parametrize(("mode", "old", "new"), [
    (0o750, True, True), (0o755, True, True), (0o4750, True, True), (0o777, True, False), (0o770, True, False),
    (0o700, False, False), (0o650, False, False), (0o550, False, True), (0o752, True, False),
])  # fmt: skip
def test_the_program(mode: int, old: bool, new: bool) -> None:
    found = Stat(vendor.PLUGIN_PROGRAM, 0o100000 | mode, 0, 1.0, 1)
    assert (unfit(found, True) == "", unfit(found, False) == "") == (old, new)
    assert unfit(found._replace(uid=7), True) == "belongs to uid 7, not root"


def test_what_was_meant_is_read_however_it_is_written() -> None:
    assert values("Path=/a/edr-plugin\n# path = /b\n  active  = yes") == {"path": "/a/edr-plugin", "active": "yes"}


# ---------------------------------------------------------------------- on a host


def test_no_restart_mends_a_plugin_file() -> None:
    assert find("auditd", ready("agent", plugin=None)).status is Status.CHANGE
    host = ready("agent", plugin=None, registration_problem="its mode")
    assert not [f.changes for f in engine.plan(host, PROFILE, Settings()) if f.changes]
    assert find("agent", host).status is Status.BLOCKED
    assert "its mode" in find("agent", host).summary


@pytest.mark.parametrize(("generation", "folder", "blocked"), [
    (3, "/etc/elsewhere", True), (3, "/etc/audit/plugins.d", False), (3, "/etc/audit//plugins.d", False),
    (2, "/etc/audisp/plugins.d", False), (2, "/etc/audit/plugins.d", True), (3, "/etc/audisp/plugins.d", True),
])  # fmt: skip
def test_a_folder_that_was_moved_is_named(generation: int, folder: str, blocked: bool) -> None:
    audispd = Stat("/sbin/audispd", 0o100750, 0, 0.0, 1)
    host = ready("audit", generation=generation, plugin_dir=folder, audispd=audispd)
    host = host._replace(agent=host.agent._replace(registration="", plugin=None))
    found = find("dispatcher", host)
    assert (found.status is Status.BLOCKED) is blocked
    if blocked:
        name = CONF if generation == 3 else "/etc/audisp/audispd.conf"
        assert found.evidence == (f"{name}: plugin_dir = {folder}",)
        assert find("auditd", host).changes == ()
    registered = host._replace(agent=host.agent._replace(registration=f"{folder}/edr.conf"))
    assert find("dispatcher", registered).status is Status.OK
    spoilt = registered._replace(agent=registered.agent._replace(registration_problem="its mode"))
    assert (find("dispatcher", spoilt).status is Status.BLOCKED) is blocked


def test_a_tree_names_both(tree: Tree) -> None:
    tree.write(vendor.CONF, "UseAuditDispatcher=1\n")
    tree.write(CONF, f"{AUDITD_CONF}dispatcher = /sbin/audispd\n", 0o640)
    tree.write(PATH, GOOD.replace("= yes", "= no"), 0o640)
    ran = tree.fim("check")
    assert f"{PATH}: active = no" in ran.out
    tree.write(CONF, f"{AUDITD_CONF}dispatcher = /sbin/audispd\nplugin_dir = /etc/elsewhere\n", 0o640)
    ran = tree.fim("check")
    assert ran.status == 4
    assert f"{CONF}: plugin_dir = /etc/elsewhere" in ran.out


def test_of_two_files_the_good_one_counts(dict_host: DictHost) -> None:
    dict_host.write(vendor.PLUGIN_PROGRAM)
    bad = GOOD.replace("= yes", "= no")
    names = {"a.conf": bad, "b.conf": GOOD, "c.conf.bak": GOOD, ".d.conf": GOOD}
    for name, text in names.items():
        dict_host.write(f"/etc/audit/plugins.d/{name}", text)
    files = [file for name in names if (file := dict_host.read(f"/etc/audit/plugins.d/{name}"))]
    assert [file.path[-6:] for file in look.registrations(files)] == ["a.conf", "b.conf"]
    audit = ready().audit._replace(plugins=tuple(files))
    registration = look._registration
    assert registration(dict_host, audit) == ("/etc/audit/plugins.d/b.conf", "")
    dict_host.nodes["/etc/audit/plugins.d/b.conf"].mode = 0o660
    assert registration(dict_host, audit)[1] == ""
    strict = audit._replace(dialect=frozenset((auditd_conf.HALT,)), plugins=audit.plugins[1:])
    assert "its group" in registration(dict_host, strict)[1]


def status_of(tree: Tree) -> tuple[str, str]:
    """What is said of the dispatcher in a tree."""
    tree.write(CONF, f"{AUDITD_CONF}dispatcher = /sbin/audispd\n{tree.read(CONF).removeprefix(AUDITD_CONF)}", 0o640)
    (found,) = tree.fim("check", "--only", "dispatcher", "--format", "json").report["requirements"][1:2]
    return str(found["status"]), " ".join((found["summary"], *found["warnings"]))


@pytest.mark.parametrize("to_it", [True, False])
def test_a_plugin_dir_that_is_a_link_to_the_usual_folder_is_that_folder(tree: Tree, to_it: bool) -> None:
    """Either may be the link."""
    places = ("/etc/plugins", "/etc/audit/plugins.d")
    tree.path("/etc/audit/plugins.d").rmdir()
    link, folder = places if to_it else places[::-1]
    tree.path(folder).mkdir()
    tree.link(link, folder)
    tree.write(CONF, f"{AUDITD_CONF}plugin_dir = /etc/plugins/\n", 0o640)
    assert status_of(tree) == ("ok", "audit 3.x dispatches by itself; plugins in /etc/audit/plugins.d")


def test_a_plugin_dir_that_is_a_file_is_none(tree: Tree) -> None:
    tree.path("/etc/audit/plugins.d").rmdir()
    tree.write("/etc/audit/plugins.d", "")
    assert status_of(tree) == ("blocked", "the plugin directory /etc/audit/plugins.d is missing, or none")


def test_a_program_that_is_not_there_is_named(tree: Tree) -> None:
    tree.write("/usr/local/qualys/cloud-agent/bin/qualys-cloud-agent", "", 0o755)
    tree.write(PATH, GOOD)
    assert f"path = {vendor.PLUGIN_PROGRAM} is not there" in status_of(tree)[1]
    tree.write(vendor.PLUGIN_PROGRAM, "", 0o750)
    assert "is not there" not in status_of(tree)[1]


def test_more_plugin_files_than_are_looked_at_are_no_ok(tree: Tree) -> None:
    for number in range(3):
        tree.write(f"/etc/audit/plugins.d/{number}.conf", "#" * (600 << 10))
    status, said = status_of(tree)
    assert (status, "larger than 1 MB" in said) == ("blocked", True)


@pytest.mark.parametrize(("path", "text", "trouble", "counts"), [
    (PATH, GOOD, "", True), ("/etc/audit/plugins.d/mine.conf", GOOD, "", True),
    ("/etc/audit/plugins.d/mine.conf", "active = yes\npath = /sbin/other\n", "", False),
    ("/etc/audit/plugins.d/.edr.conf", GOOD, "", False), ("/etc/audit/plugins.d/edr.conf.bak", GOOD, "", False),
    (PATH, "", "cannot be read", True),  # where the agent puts its own
    ("/etc/audit/plugins.d/mine.conf", "", "cannot be read", False), (PATH, "", "", False),
    (PATH, "path = /sbin/other\n", "larger than 1 MB", False),
])  # fmt: skip
def test_which_plugin_files_are_the_agents(path: str, text: str, trouble: str, counts: bool) -> None:
    assert bool(look.registrations([File(path, text, 1.0, trouble)])) is counts


def test_a_file_that_names_no_program_has_none(dict_host: DictHost) -> None:
    assert look._no_program(dict_host, File(PATH, "active = yes\n")) == "path =  is not there"
    assert look._no_program(dict_host, File(PATH, "path = /x\n")) == "path = /x is not there"
    dict_host.write("/x")
    assert look._no_program(dict_host, File(PATH, "path = /x\n")) == ""
