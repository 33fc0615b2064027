"""The profile table: what is loaded, refused and selected."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_bootstrap.changes.packages import InstallPackages
from fim_bootstrap.errors import BadConfig, Unsupported
from fim_bootstrap.facts.commands import AGENT_COMMANDS, AUDIT_COMMANDS, SELINUX_COMMANDS
from fim_bootstrap.facts.system import identify
from fim_bootstrap.host.live import LiveHost
from fim_bootstrap.model import OsRelease, Profile, Settings, Status
from fim_bootstrap.profiles import _snippet, load, read_table, select
from fim_bootstrap.requirements import packages
from fim_bootstrap.resources import profile_folder
from tests.conftest import PROJECT, Tree
from tests.test_requirements import READY

SHIPPED = load([profile_folder()])
SELECTABLE = [profile for profile in SHIPPED if profile.ids]
RPM = {"rpm": "/bin/rpm", "dnf": "/bin/dnf"}.get  # what an RPM system has
NOTHING = dict[str, str]().get
GOOD = '[mine]\ntitle = "Mine"\nids = ["mine"]\nmanagers = ["apt"]\n'


def table(folder: Path, text: str) -> tuple[Profile, ...]:
    """The profiles of a folder with this one file."""
    (folder / "mine.toml").write_text(text)
    return load([str(folder)])


def os_releases() -> list[tuple[str, str, str]]:
    """Expected profile, path and text of each line of os_releases.txt."""
    found = []
    for line in (Path(__file__).parent / "os_releases.txt").read_text().splitlines():
        if not line.startswith("#"):
            profile, _, text = line.partition(" ")
            path, colon, rest = text.strip().partition(": ")
            file = (path, f"{rest}\n") if colon and path.startswith("/") else ("/etc/os-release", "")
            found.append((profile, file[0], file[1] or "\n".join(_assignments(text)) + "\n"))
    return found


def _assignments(text: str) -> list[str]:
    """KEY=value pairs, with the quotes of os-release kept."""
    return re.findall(r'[A-Z_]+=(?:"[^"]*"|\S+)', text)


@pytest.mark.parametrize(("expected", "path", "text"), os_releases())
def test_what_a_release_says_of_itself_selects_its_profile(tmp_path: Path, expected: str, path: str, text: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / path.lstrip("/")).write_text(text)
    release = identify(LiveHost(str(tmp_path)))
    for has in (NOTHING, RPM):
        if expected == "-" or (expected == "~rpm-files" and has is NOTHING):
            with pytest.raises(Unsupported, match=r"no profile for this system: .*ID="):
                select(SHIPPED, release, has=NOTHING)
        else:
            profile = select(SHIPPED, release, has=has)
            assert ("~" if profile.nearest else "") + profile.id == expected


@pytest.mark.parametrize(("expected", "path", "text"), os_releases())
def test_the_table_that_an_unknown_system_gets_loads_and_selects_it(
    tmp_path: Path, expected: str, path: str, text: str
) -> None:
    """It never gets in the way of the shipped ones, whatever stands in a name."""
    (tmp_path / "etc").mkdir()
    (tmp_path / path.lstrip("/")).write_text(text)
    release = identify(LiveHost(str(tmp_path)))
    named_as_a_table = OsRelease("leap", "16", ("suse",))
    strange = release._replace(name='The "odd" one\\', id=release.id + '."x')
    for odd in (release, strange, named_as_a_table, OsRelease("")):
        snippet = _snippet(SHIPPED, odd)
        (tmp_path / "mine.toml").write_text(snippet)
        if odd is release and expected[0] not in "-~":
            continue  # no table is written for what is known, and two may not claim the same release
        table = load([profile_folder(), str(tmp_path)])
        assert {profile.id for profile in SHIPPED} < {profile.id for profile in table}
        found = select(table, odd)
        assert f"[{found.id}]" in snippet
        assert not found.nearest


@pytest.mark.parametrize(
    ("release", "model"),
    [
        (OsRelease("debian", "8"), "debian-9"),
        (OsRelease("ubuntu", "26.10"), "ubuntu-26.04"),
        (OsRelease("sles", "11.4"), "sles-12"),
        (OsRelease("unheard-of", "11", ("rhel", "fedora")), "el9"),
        (OsRelease("kali", "2025.4", ("debian",)), "debian-12"),
    ],
)
def test_a_new_table_is_made_after_the_nearest(release: OsRelease, model: str) -> None:
    with pytest.raises(Unsupported) as refused:
        select(SHIPPED, release)
    assert f'like = "{model}"' in refused.value.remedy


@pytest.mark.parametrize(
    ("release", "ends"),
    [
        (OsRelease("centos", "8", name="CentOS Linux 8"), "2021-12-31"),
        (OsRelease("centos", "8", name="CentOS Stream 8"), "2024-05-31"),
        (OsRelease("rocky", "8.10"), "2029-05-31"),
        (OsRelease("centos", "9"), "2027-05-31"),
        (OsRelease("ol", "7.9"), "2024-12-31"),
        (OsRelease("opensuse-leap", "15.5"), "2024-12-31"),
        (OsRelease("opensuse-leap", "15.6"), "2026-04-30"),
        (OsRelease("sles", "15.3"), "2022-12-31"),
        (OsRelease("sles", "15.6"), "2025-12-31"),
        (OsRelease("sles_sap", "12.1.0.1"), "2017-05-31"),
        (OsRelease("ubuntu", "25.04"), "2026-01-15"),
        (OsRelease("fedora", "40"), "2025-05-13"),
        (OsRelease("fedora", "99"), ""),
        (OsRelease("OpenCloudOS", "8.6", ("rhel",)), ""),
    ],
)
def test_the_end_of_life_is_that_of_the_release_at_hand(release: OsRelease, ends: str) -> None:
    assert select(SHIPPED, release).eol == ends


def test_an_image_based_system_never_looks_packages_up_by_their_files() -> None:
    for tool, release, expected in (
        ("transactional-update", OsRelease("alp-dolomite", "1.0", ("suse",)), "microos"),
        ("rpm-ostree", OsRelease("unheard-of", "1"), "fedora"),
    ):
        found = select(SHIPPED, release, has={"rpm": 1, "zypper": 1, "dnf": 1, tool: 1}.get)
        assert (found.id, bool(found.nearest)) == (expected, True)


def test_an_rpm_manager_on_a_system_of_another_kind_installs_nothing() -> None:
    for release in (OsRelease("kali", "2025.4", ("debian",)), OsRelease("debian", "8"), OsRelease("arch")):
        with pytest.raises(Unsupported):
            select(SHIPPED, release, has=RPM)


def test_every_profile_is_selected_by_some_release() -> None:
    expected = {line[0].lstrip("~") for line in os_releases()}
    assert {p.id for p in SHIPPED if p.ids} == expected - {"-", "rpm-files"}


def test_an_rpm_system_without_a_profile_looks_packages_up_by_their_files() -> None:
    found = select(SHIPPED, OsRelease("altlinux", "10.1"), has={"rpm": "/bin/rpm", "dnf": "/bin/dnf"}.get)
    assert found.id == "rpm-files"
    assert "not in the table" in found.nearest
    with pytest.raises(Unsupported):
        select(SHIPPED, OsRelease("altlinux", "10.1"), has={"rpm": "/bin/rpm"}.get)


@pytest.mark.parametrize("release", [OsRelease(""), OsRelease("Debian", "121"), OsRelease("debian", "121")])
def test_what_is_not_known_is_refused(release: OsRelease) -> None:
    with pytest.raises(Unsupported, match="no profile for this system") as refused:
        select(SHIPPED, release)
    assert "--profile ID" in refused.value.remedy
    assert 'like = "debian-12"' in refused.value.remedy


def test_a_forced_profile_must_exist() -> None:
    assert select(SHIPPED, OsRelease(""), "debian-12").id == "debian-12"
    with pytest.raises(Unsupported, match="there is no profile 'debian'"):
        select(SHIPPED, OsRelease(""), "debian")


@pytest.mark.parametrize("profile", SELECTABLE, ids=lambda p: p.id)
def test_every_needed_command_has_a_package_or_a_reason(profile: Profile) -> None:
    for command in (*AUDIT_COMMANDS, *AGENT_COMMANDS, *SELINUX_COMMANDS):
        answers = [command in table for table in (profile.packages, profile.not_applicable, profile.unavailable)]
        assert answers.count(True) == 1, command
    assert profile.managers
    assert set(profile.confidence) <= {"all", *profile.packages}


MISSING = st.sets(st.sampled_from((*AUDIT_COMMANDS, *AGENT_COMMANDS, *SELINUX_COMMANDS, "semanage")), min_size=1)


@given(st.sampled_from(SELECTABLE), MISSING, st.sampled_from(["enforcing", "disabled"]))
def test_every_profile_yields_a_plan_for_whatever_is_missing(profile: Profile, gone: set[str], mode: str) -> None:
    there = {c: c for c in (*AUDIT_COMMANDS, *AGENT_COMMANDS, *SELINUX_COMMANDS, *profile.packages) if c not in gone}
    facts = READY._replace(
        commands=there, manager=profile.managers[0], selinux=READY.selinux._replace(mode=mode),
    )  # fmt: skip
    finding = packages.assess(facts, profile, Settings())
    wanted = gone & set(packages.needed(facts, profile))
    if not wanted:
        assert finding.status is Status.OK
    elif wanted & set(profile.unavailable):
        assert finding.status is Status.BLOCKED
        assert next(iter(profile.unavailable.values())) in finding.remedy
    else:
        (install,) = finding.changes
        assert isinstance(install, InstallPackages)
        assert set(install.order.wanted) == wanted
        assert all(install.order.wanted.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "not valid TOML"),
        ("mine = 1\n", "mine: a profile is a table"),
        (GOOD + "colour = 1\n", "[mine] colour: no such key"),
        (GOOD + "audit = 4\n", "[mine] audit: must be one of 2, 3, not 4"),
        (GOOD + "audit = '3'\n", "[mine] audit: must be a number, not '3'"),
        (GOOD + "audit = true\n", "[mine] audit: must be a number, not True"),
        (GOOD + "semodule_priorities = 1\n", "[mine] semodule_priorities: must be true or false, not 1"),
        (GOOD + "nearest = 'x'\n", "[mine] nearest: no such key"),
        (GOOD + "tested = 'surely'\n", "[mine] tested: must be one of live, real manager, replay, from facts"),
        (GOOD.replace("apt", "emerge"), "[mine] managers: no such manager: emerge"),
        (GOOD + GOOD.replace("[mine]", "[also]"), "[also] versions: ID mine any version is claimed by [mine] too"),
        (GOOD + "platform='p'\n[b]\ntitle='B'\nplatform='p'\n", "[b] versions: PLATFORM_ID p is claimed by [mine] too"),
        (GOOD + "versions = 12\n", "[mine] versions: must be a list of texts"),
        (GOOD + "packages = {auditd = 'audit'}\n", "[mine] packages: must be a table of lists of texts"),
        (GOOD + "unavailable = {auditd = 1}\n", "[mine] unavailable: must be a table of texts"),
        ("[mine]\nids = ['mine']\n", "[mine] title: is missing"),
        ("[mine]\nlike = 'other'\ntitle = 'x'\n", "there is no table [other]"),
        ("[a]\nlike = 'b'\n[b]\nlike = 'a'\n", "goes in a circle: a -> b -> a"),
    ],
)
def test_a_bad_table_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        table(tmp_path, text)
    assert str(tmp_path / "mine.toml") in str(caught.value)
    assert said in str(caught.value)


def test_a_key_of_an_earlier_release_is_understood(tmp_path: Path) -> None:
    (mine,) = table(tmp_path, GOOD + "along = ['extra']\n")
    assert mine.extra_packages == ("extra",)


def test_a_child_inherits_all_but_what_it_is_matched_by(tmp_path: Path) -> None:
    text = GOOD + "packages = {auditd = ['audit']}\n[child]\nlike = 'mine'\npackages = {semodule = ['x']}\n"
    mine, child = table(tmp_path, text)
    assert (child.managers, child.title, child.ids) == (("apt",), "Mine", ())
    assert child.packages == {"auditd": ("audit",), "semodule": ("x",)}
    assert mine.ids == ("mine",)


def test_a_later_folder_replaces_a_table(tmp_path: Path) -> None:
    text = '[debian-12]\nlike = "debian"\ntitle = "Ours"\nids = ["debian"]\nversions = ["12"]\n'
    (tmp_path / "own.toml").write_text(text)
    assert select(load([profile_folder(), str(tmp_path)]), OsRelease("debian", "12")).title == "Ours"


@pytest.mark.parametrize("writable", ["file", "folder"])
def test_a_drop_in_that_others_may_write_is_refused(tree: Tree, writable: str) -> None:
    tree.write("/etc/fim-bootstrap/profiles.d/mine.toml", '[mine]\nlike = "debian-12"\ntitle = "Mine"\nids = ["x"]\n')
    assert tree.fim("check").status == 3
    name = "/etc/fim-bootstrap/profiles.d" + ("/mine.toml" if writable == "file" else "")
    tree.path(name).chmod(0o777)
    seen = tree.fim("check")
    assert seen.status == 78
    assert f"{name}: must belong to root and be writable by nobody else" in seen.err
    assert "chmod go-w" in seen.err


def test_a_drop_in_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"mine": {"title": "Mine", "ids": ["mine"], "managers": ["apt"]}}')
    assert load([str(tmp_path)]) == table(tmp_path, GOOD)
    bad = (("{", "not valid JSON"), ("[1]", "must be a JSON object"), ("[" * 100_000, "not valid JSON"))
    for text, said in bad:
        path.write_text(text)
        with pytest.raises(BadConfig, match=said) as caught:
            load([str(tmp_path)])
        assert str(path) in str(caught.value)


def test_brackets_without_end_are_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(BadConfig, match="not valid TOML"):
        load([str(tmp_path)])


@pytest.mark.parametrize("key", ["tested", "confidence", "eol", "eol_of"])
def test_what_was_found_out_about_a_release_is_never_said_of_another(tmp_path: Path, key: str) -> None:
    """How sure its names are, how they were tested and when it ends: a child says that itself, or nothing is said."""
    known = 'tested = "live"\nconfidence = { all = "low: why" }\neol = "2030-01-01"\neol_of = { mine = "2031-01-01" }\n'
    child = '[child]\nlike = "mine"\ntitle = "Child"\nids = ["child"]\n'
    parent, other = table(tmp_path, f"{GOOD}{known}{child}")
    assert getattr(parent, key) != Profile._field_defaults[key]
    assert getattr(other, key) == Profile._field_defaults[key]
    assert other.managers == parent.managers


def test_a_rebuild_is_like_no_other_vendors_product() -> None:
    """What one vendor changes in a table is not another vendor's."""
    tables = {name: row for path in sorted(Path(profile_folder()).glob("*.toml"))
              for name, row in read_table(str(path)).items()}  # fmt: skip
    unsure = {name for name, row in tables.items() if "rebuilds" in row.get("confidence", {}).get("all", "")}
    assert len(unsure) == 8
    assert {tables[name]["like"] for name in unsure} == {"el8-rebuild", "el9-rebuild"}
    assert not any("ids" in tables[name] for name in ("el8-rebuild", "el9-rebuild"))


CONTRIBUTING = (PROJECT / "docs/contributing.md").read_text()


def test_the_recipe_for_a_release_works_as_it_is_written(tree: Tree, tmp_path: Path) -> None:
    (block,) = re.findall(r"(?s)```toml\n(.*?)```", CONTRIBUTING)
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mylinux.toml").write_text(block)
    tree.write("/etc/os-release", 'ID="mylinux"\nVERSION_ID="9.4"\nNAME="My Linux"\n')
    told = tree.fim("check", "--profiles", str(folder), "--format", "json").report["host"]
    assert (told["profile"], told["os"]["id"]) == ("mylinux-9", "mylinux")
    (made,) = [profile for profile in load([profile_folder(), str(folder)]) if profile.id == "mylinux-9"]
    assert (made.packages["awk"], made.tested) == (("gawk", "busybox-awk"), "from facts")


def test_the_recipes_name_files_that_are_there() -> None:
    named = re.findall(r"^\| `([^`]+)`", CONTRIBUTING, re.MULTILINE)
    assert len(named) > 10
    assert [name for name in named if not list(PROJECT.glob(name.replace("NAME", "guard")))] == []


@pytest.mark.parametrize("shape", ["{} = 1\n", "[{}]\n", "a = 1\n{} = 1\n"])
def test_a_key_of_many_dots_takes_no_time(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(shape.format(".".join("b" * 20_000)))
    begun = time.process_time()
    with pytest.raises(BadConfig, match="more than 100 dots"):
        read_table(str(path))
    assert time.process_time() - begun < 2
    path.write_text(shape.format(".".join("b" * 101)))
    assert read_table(str(path))


def test_what_os_release_does_not_say_is_empty(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=x\n")
    assert identify(LiveHost(str(tmp_path))) == OsRelease("x")


@pytest.mark.parametrize(("size", "name"), [(100, "Some Linux"), (2000, "")])
def test_an_older_release_file_is_short(tmp_path: Path, size: int, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/some-release").write_text("Some Linux release 7.1 (Name)\n".ljust(size, "#"))
    assert identify(LiveHost(str(tmp_path))).name.startswith(name)
    assert bool(identify(LiveHost(str(tmp_path))).id) is bool(name)
