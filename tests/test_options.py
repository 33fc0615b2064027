"""Each command honours the options that the table gives it, and refuses the others."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any, Optional

import pytest

from fim_bootstrap import arguments, cli, options
from fim_bootstrap.again import Again
from fim_bootstrap.commands import ABOUT_A_HOST
from fim_bootstrap.errors import BadConfig, BootstrapError
from fim_bootstrap.model import Settings
from fim_bootstrap.option_table import CONFIG, FLAG, OPTIONS, Option
from fim_bootstrap.spelling import nearest
from tests.conftest import Tree, needs_root

VALUES = {"root": "/", "mode": "auto", "profile": "debian-12", "profiles": "/", "format": "text", "report": "/dev/null",
          "only": "rules", "skip": "agent", "lock-timeout": "5", "reboot": "never", "dispatcher-line": "auto",
          "url": "https://h/x", "sha256": "0" * 64, "part": "script"}  # fmt: skip
# of a command that was given nothing else, what has to be asked for to have it read an option
ASKING: dict[str, tuple[str, ...]] = {"profiles": ("--resolve",), "revert": ("--packages",)}


def words(option: Option) -> list[str]:
    value = VALUES.get(option.name, (*option.choices, "5")[0])
    return [f"--{option.name}", *([] if option.kind == FLAG else [value])]


@pytest.mark.parametrize("command", ABOUT_A_HOST)
def test_what_a_command_does_not_honour_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = {option.name for option in OPTIONS if command in option.commands}
    for option in OPTIONS:
        if command in option.commands:
            assert option.name in options.parse([command, *words(option)])[1]
        elif option.name not in own:
            assert cli.main([command, *words(option)]) == 64, option.name
            assert f"fim-bootstrap {command}: --{option.name} belongs to" in capsys.readouterr().err


@pytest.mark.parametrize("command", ABOUT_A_HOST)
def test_file_and_environment_are_there_for_all_commands(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('report = "/r"\nreboot = "when-needed"\npackages = true\nurl = "https://h/x"\nverbose = true\n')
    monkeypatch.setenv("FIM_BOOTSTRAP_RESOLVE", "yes")
    _, values = options.parse([command, "--config", str(file)])
    assert set(values) == {option.name for option in OPTIONS if command in option.commands}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b'report = "/r"\n', "/r"), (b'reprot = "/r"\n', "no such option"), (b"#" * (2 << 20), "File too large"),
     (None, "it was not written to its end")],
    ids=["good", "unknown", "large", "silent"],
)  # fmt: skip
def test_an_option_file_may_come_through_a_pipe(
    content: Optional[bytes], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fim_bootstrap.host.files.PATIENCE", 0.5)
    reading, writing = os.pipe()

    def write() -> None:
        with contextlib.suppress(OSError), open(writing, "wb") as file:
            file.write(content or b"")

    thread = threading.Thread(target=write, daemon=True)
    if content is not None:
        thread.start()
    try:
        said = options.parse(["check", "--config", f"/dev/fd/{reading}"])[1]["report"]
    except BadConfig as error:
        said = str(error)
    os.close(reading)
    if content is None:
        os.close(writing)
    else:
        thread.join(5)
    assert wanted in said


class Watched(dict[str, Any]):
    """Values that note which of them are read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:  # as a dict's, but through the above
        return self[key] if key in self else default  # noqa: SIM401 - that would be this method


READ: set[str] = set()


class WatchedSettings(Settings):
    """Settings that note which of them are read after they were made."""

    def __getattribute__(self, name: str) -> Any:
        if name in Settings._fields:
            READ.add(name)
        return super().__getattribute__(name)


@pytest.fixture
def host(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree with something to do for every option: a package is missing, and its manager is there."""
    tree.path("/usr/sbin/augenrules").unlink()
    tree.write("/usr/bin/apt-get", "#!/bin/false\n", 0o755)
    monkeypatch.setattr("fim_bootstrap.resources.program", lambda: b"binary")
    monkeypatch.setattr(options, "Settings", WatchedSettings)
    READ.clear()
    return tree


@needs_root
@pytest.mark.parametrize("command", ABOUT_A_HOST)
def test_what_a_command_is_given_it_reads(command: str, host: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings count as read where a requirement, or the look at the host, asks for them."""
    root = [] if command == "cloud-config" else ["--root", str(host.folder)]
    url = ["--url", "https://h/x", "--sha256", "0" * 64] if command == "cloud-config" else []
    values = Watched(options.parse([command, *root, *url, *ASKING.get(command, ())])[1])
    with contextlib.suppress(BootstrapError):  # this apt-get does nothing
        cli.COMMANDS[command](cli.Call(values, Again(), 0.0))
    capsys.readouterr()
    fields = {name.replace("-", "_").replace("no_install", "install"): name for name in values}
    asked = {name for field, name in fields.items() if field in Settings._fields and field in READ}
    plain = {name for field, name in fields.items() if field not in Settings._fields and name in values.read}
    # where the tree lies is read while the settings are made; facts are JSON, and only an error of theirs has a form
    # an agent's patience is for one that runs
    apart = {"root", "agent-timeout", *(["format"] if command == "facts" else [])}
    apart |= values.read if command == "cloud-config" else set()
    assert asked | plain | (apart & set(values)) == set(values)


@pytest.mark.parametrize(("typed", "said"), [
    ("check --porbe", "check: there is no option --porbe; did you mean --probe?"),
    ("check --zzz", "check: there is no option --zzz\n"),
    ("check -x", "check: there is no option -x\n"),
    ("check --prob", "check: --prob: options are written in full: --probe\n"),
    ("apply --dr", "apply: --dr: options are written in full: --dry-run\n"),
    ("check --pro", "check: --pro: options are written in full: --probe or --profile or --profiles\n"),
    ("check --dry-run", "check: --dry-run belongs to apply; check never changes anything\n"),
    ("cloud-config --reboot never", "cloud-config: --reboot belongs to apply; cloud-init reboots by its power_state"),
    ("check --probe=yes", "check: --probe takes no value\n"),
    ("check --root", "check: --root: DIR is missing\n"),
    ("check --root --probe", "check: --root: DIR is missing\n"),
    ("check --agent-timeout soon", "check: --agent-timeout soon: must be a number of seconds\n"),
    ("check --only rule", "check: --only rule: no such requirement; did you mean rules?"),
    ("check --mode sideways", "check: --mode sideways: must be one of auto, dispatcher, direct\n"),
    ("check x", "check: x: no such word here\n"),
    ("help check apply", "help: apply: no such word here\n"),
    ("fleet", "fleet: REPORT is missing: "),
    ("chekc", ": there is no command chekc; did you mean check?"),
    ("help chekc", "help: there is no command chekc; did you mean check?"),
    ("--root / check", ": --root: the command comes first\n"),
    ("", ": a command is missing\n"),
])  # fmt: skip
def test_wrong_words_are_named_and_never_guessed_at(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(typed.split()) == 64
    told = capsys.readouterr()
    assert told.err.startswith(f"fim-bootstrap{'' if said.startswith(':') else ' '}{said}")
    assert told.out == ""


@pytest.mark.parametrize(("word", "known", "near"), [
    ("rule", ("rules", "policy"), "rules"), ("debian-1", ("debian-12", "debian-13"), ""), ("zzz", ("rules",), ""),
    ("RULES", ("rules",), "rules"), ("x", (), ""),
])  # fmt: skip
def test_a_guess_is_made_where_one_name_alone_is_near(word: str, known: tuple[str, ...], near: str) -> None:
    assert nearest(word, known) == near


@pytest.mark.parametrize(("typed", "values"), [
    ("--root=/", {"root": "/"}),
    ("--only rules --only=agent", {"only": ["rules", "agent"]}),
    ("-v --agent-timeout 5", {"verbose": True, "agent-timeout": 5.0}),
    ("--report=--x --mode auto --mode direct", {"report": "--x", "mode": "direct"}),
])  # fmt: skip
def test_an_option_and_its_value_may_be_one_word_or_two(typed: str, values: dict[str, Any]) -> None:
    parsed = options.parse(["check", *typed.split()])[1]
    assert {name: parsed[name] for name in values} == values


def test_what_follows_two_dashes_is_no_option() -> None:
    assert options.parse(["fleet", "--strict", "-", "--", "--strict"])[1]["reports"] == ["-", "--strict"]


def test_cloud_config_passes_on_what_apply_honours_or_says_why_not() -> None:
    for option in OPTIONS:
        if "apply" in option.commands:
            refused = ("cloud-config", option.name) in arguments.BELONGS
            assert ("cloud-config" in option.commands) != refused, option.name


def test_the_defaults_of_the_settings_are_those_of_the_table(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "OPTION_FILE", str(tmp_path / "none"))
    assert options.settings(options.parse(["apply"])[1]) == Settings()


def test_an_option_stands_in_one_row_for_each_command() -> None:
    pairs = [(option.name, command) for option in (*OPTIONS, CONFIG) for command in option.commands]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize(("name", "hint"), [
    ("FIM_BOOTSTRAP_REPROT", "; did you mean FIM_BOOTSTRAP_REPORT?\n"),
    ("FIM_BOOTSTRAP_DRYRUN", "; did you mean FIM_BOOTSTRAP_DRY_RUN?\n"),
    ("FIM_BOOTSTRAP_9999999999999", "\n"),
])  # fmt: skip
def test_a_variable_that_is_no_option_is_refused(
    name: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "x")
    assert cli.main(["check"]) == 64
    assert f"fim-bootstrap check: {name}: no such option{hint}" in capsys.readouterr().err
    assert cli.main(["help", "check"]) == 0


@pytest.mark.parametrize("text", ['profile = "a\\u0000b"', 'report = "\\u0000"'])
def test_a_text_that_no_name_can_hold_is_refused(tmp_path: Any, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert cli.main(["check", "--config", str(file)]) == 78
    assert f"{file}: " in capsys.readouterr().err
    for words_ in (["--root", "a\0b"], ["--profile", "a\0b"], ["--report", "a\0b"], ["--root", "\ud800"]):
        assert cli.main(["check", *words_]) == 64


def test_half_a_character_of_a_json_option_file_is_refused(tmp_path: Any) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"profile": "\\ud800"}')
    assert cli.main(["check", "--config", str(file)]) == 78


@pytest.mark.parametrize(("text", "value"), [
    ("1", True), ("true", True), ("YES", True), ("0", False), ("False", False), ("no", False), ("", False),
])  # fmt: skip
def test_a_flag_of_the_environment_is_yes_or_no(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("FIM_BOOTSTRAP_RESOLVE", text)
    assert options.parse(["profiles"])[1]["resolve"] is value


def test_lists_and_numbers_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIM_BOOTSTRAP_SKIP", "rules, agent policy")
    monkeypatch.setenv("FIM_BOOTSTRAP_LOCK_TIMEOUT", "2.5")
    _, values = options.parse(["apply"])
    assert (values["skip"], values["lock-timeout"]) == (["rules", "agent", "policy"], 2.5)
