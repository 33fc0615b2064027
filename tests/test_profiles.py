"""The profile table: what is loaded, refused and selected."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim_bootstrap.errors import BadConfig, Unsupported
from fim_bootstrap.facts import AUDIT_COMMANDS, SELINUX_COMMANDS
from fim_bootstrap.managers import MANAGERS
from fim_bootstrap.model import OsRelease, Profile
from fim_bootstrap.profiles import load, select
from fim_bootstrap.resources import profile_folder

SHIPPED = load([profile_folder()])
GOOD = '[mine]\ntitle = "Mine"\nids = ["mine"]\nmanager = "apt"\n'


def table(folder: Path, text: str) -> tuple[Profile, ...]:
    """The profiles of a folder with this one file."""
    (folder / "mine.toml").write_text(text)
    return load([str(folder)])


@pytest.mark.parametrize(
    ("release", "profile"),
    [
        (OsRelease("debian", "11", codename="bullseye"), "debian-11"),
        (OsRelease("debian", "12", codename="bookworm"), "debian-12"),
        (OsRelease("debian", "13", codename="trixie"), "debian-13"),
        (OsRelease("debian", "", codename="forky"), "debian-sid"),
    ],
)
def test_selection(release: OsRelease, profile: str) -> None:
    assert select(SHIPPED, release).id == profile


@pytest.mark.parametrize("release", [OsRelease(""), OsRelease("Debian", "12"), OsRelease("debian", "121")])
def test_what_is_not_known_is_refused(release: OsRelease) -> None:
    with pytest.raises(Unsupported, match="no profile for this system"):
        select(SHIPPED, release)


def test_a_forced_profile_must_exist() -> None:
    assert select(SHIPPED, OsRelease(""), "debian-12").id == "debian-12"
    with pytest.raises(Unsupported, match="there is no profile 'debian'"):
        select(SHIPPED, OsRelease(""), "debian")


@pytest.mark.parametrize("profile", [p for p in SHIPPED if p.ids], ids=lambda p: p.id)
def test_every_needed_command_has_a_package_or_a_reason(profile: Profile) -> None:
    for command in (*AUDIT_COMMANDS, *SELINUX_COMMANDS):
        assert command in {**profile.packages, **profile.not_applicable, **profile.unavailable}
    assert profile.manager in MANAGERS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "not valid TOML"),
        ("mine = 1\n", "mine: a profile is a table"),
        (GOOD + "colour = 1\n", "[mine] colour: no such key"),
        (GOOD + "audit = 4\n", "[mine] audit: must be 2 or 3"),
        (GOOD + "audit = '3'\n", "[mine] audit: must be int, not '3'"),
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


def test_two_profiles_for_one_release_are_an_error(tmp_path: Path) -> None:
    twice = table(tmp_path, GOOD + GOOD.replace("[mine]", "[also]"))
    with pytest.raises(BadConfig, match="profiles mine, also all match ID=mine"):
        select(twice, OsRelease("mine"))


def test_a_child_inherits_all_but_what_it_is_matched_by(tmp_path: Path) -> None:
    text = GOOD + "packages = {auditd = ['audit']}\n[child]\nlike = 'mine'\npackages = {semodule = ['x']}\n"
    mine, child = table(tmp_path, text)
    assert (child.manager, child.title, child.ids) == ("apt", "Mine", ())
    assert child.packages == {"auditd": ("audit",), "semodule": ("x",)}
    assert mine.ids == ("mine",)


def test_a_later_folder_replaces_a_table(tmp_path: Path) -> None:
    text = '[debian-12]\nlike = "debian"\ntitle = "Ours"\nids = ["debian"]\nversions = ["12"]\n'
    (tmp_path / "own.toml").write_text(text)
    assert select(load([profile_folder(), str(tmp_path)]), OsRelease("debian", "12")).title == "Ours"
