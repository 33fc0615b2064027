"""Why a package cannot be had: the sign of a cause in what a manager said, and a line to type."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ..host.reader import Output, Reader, Stat
from ..model import OsRelease, Profile
from .causes import CAUSES, LOOK, REPOSITORY, Cause
from .rows import Manager

VERSION_LOCKS = ("/etc/dnf/plugins/versionlock.list", "/etc/dnf/versionlock.toml",
                 "/etc/yum/pluginconf.d/versionlock.list")  # fmt: skip
# what a transaction writes to; rpm keeps the system's word to itself where it fails
WRITTEN_TO = ("/usr", "/etc", "/var", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/var/cache")
SILENT = (
    r"Error unpacking rpm package|unpacking of archive failed|Transaction failed|rpmdb open failed"
    r"|cannot open Packages database|Document is empty"
)
FULL = 1 << 20  # bytes that are left; no database can be opened with less
YUM_CONF = ("/etc/yum.conf", "/etc/yum.repos.d/*.repo")
# what zypper has fetched: without signatures it takes any page for a repository that has nothing
FETCHED = "/var/cache/zypp/raw/*/repodata/repomd.xml"
LONGEST = 400  # characters of a line that is quoted
# what tells that a repository was passed over, although the manager exits with 0
PASSED_OVER = (
    r"Ignoring repositor|Skipping repository|Failed to fetch|Failed to download metadata|have been ignored"
    r"|index files failed|One of the configured repositories failed|^>>> "
)
DECISIVE = r"[Cc]url error|Status code: \d|HTTP (?:response|Error)|returned error"
ERROR = r"(?i)\b(error|failed|cannot|could not|unable to (?!detect release))"


class Why(NamedTuple):
    """What stands in the way: the manager's decisive line, and what to type."""

    what: str
    remedy: str  # one line for a shell, then # and what has to be known
    answered: bool = False  # the repositories were asked, and have it


def why(
    host: Reader, manager: Manager, release: OsRelease, names: Sequence[str], said: Sequence[Output]
) -> Optional[Why]:
    """Why these names cannot be had, where the manager's output has the sign of a cause."""
    texts = [_readable(host, output) + _kept_out(host, output, names) for output in said]
    for cause in CAUSES:
        for output, text in zip(said, texts):
            signs = [*re.finditer(cause.sign, text, re.MULTILINE)]
            if signs and (command := _filled(host, manager, release, cause, signs, names, "\n".join(texts))):
                what = f"{cause.name}: {_line(text, _telling_sign(signs, names))}{_status(output)}"
                return Why(what, with_notes(command, cause.note), cause.answered)
    return None


def _telling_sign(signs: Sequence[re.Match[str]], names: Sequence[str]) -> re.Match[str]:
    """The first that names what was asked for; else the last, which says most."""
    return next((sign for sign in signs if _named(sign) in names), signs[-1])


def _named(sign: re.Match[str]) -> str:
    """The package, or the server, that a sign names, or ''."""
    return next((value for key, value in sign.groupdict().items() if value and key != "version"), "")


def trouble(host: Reader, manager: Manager, said: Sequence[Output]) -> Optional[Why]:
    """What a manager complained of while it was asked, where no cause is known."""
    for output in said:
        text = _readable(host, output)
        unasked = output.status not in manager.good and not re.search(manager.absent, text)
        if unasked or re.search(PASSED_OVER, text, re.MULTILINE):
            return Why(_telling(output, text) + _status(output), shlex.join(output.argv))
    return None


def _telling(output: Output, text: str) -> str:
    """The line that says most; one that ends with a colon only leads to it."""
    lines = [line.strip() for line in text.splitlines() if not line.rstrip().endswith(":")]
    signs = (DECISIVE, ERROR, PASSED_OVER)
    return next((line for sign in signs for line in lines if re.search(sign, line)), output.why())


def _readable(host: Reader, output: Output) -> str:
    """The output, with what the manager leaves to its exit status and to its files."""
    text = (output.stdout + "\n" + output.stderr).replace("&apos;", "'").replace("&quot;", '"')
    found = re.search(r"exclude filtering for argument: ([\w.+-]+)|'([\w.+-]+)' matches only excluded", text)
    name = (found[1] or found[2]) if found else ""
    if name and any(host.holds(path, name.encode()) for path in VERSION_LOCKS):
        text += f"\nversionlock ({name})"
    if re.search(SILENT, text):
        text += "".join(_unwritable(path, seen) for path in WRITTEN_TO if (seen := host.stat(path)))
    if "No matching items found" in text:
        text += "".join(f"\nBad repomd file: {path}" for path in host.glob(FETCHED) if not host.holds(path, b"<repomd"))
    return f"{text}\n{output.argv[0]}: exit status {output.status}" if output.status else text


def _kept_out(host: Reader, output: Output, names: Sequence[str]) -> str:
    """The lines by which yum 3 keeps packages out; it says nothing of them (yum.conf(5), exclude)."""
    if "No matching Packages to list" not in output.stderr:
        return ""
    files = [file for pattern in YUM_CONF for path in host.glob(pattern) if (file := host.read(path))]
    lines = ((file.path, line) for file in files for line in re.findall(r"(?m)^exclude\s*=.+", file.text))
    kept = ((path, line, name) for path, line in lines for name in names
            if any(fnmatch.fnmatchcase(name, word) for word in re.split(r"[\s,=]+", line)[1:]))  # fmt: skip
    return "".join(f"\n{path}: {line} keeps out {name}" for path, line, name in kept)


def _unwritable(path: str, seen: Stat) -> str:
    """What the system says where nothing can be written."""
    full = f"\nNo space left on device: {path}" if 0 <= seen.free < FULL else ""
    return f"\nRead-only file system: {path}" if seen.read_only else full


def _status(output: Output) -> str:
    return f" ({output.argv[0]} exit status {output.status})" if output.status else ""


def _line(text: str, sign: re.Match[str]) -> str:
    """The line in which a sign ends, with the name that it began with."""
    begin = text.rfind("\n", 0, max(sign.start(), sign.end() - 1)) + 1
    end = text.find("\n", sign.end())
    line = re.sub(r"^(?:[EW]: |- |>>> )|\s+", " ", text[begin : end if end >= 0 else None].strip()).strip()[:LONGEST]
    name = _named(sign)
    return line if name in line else f"{name}: {line}"


def _filled(
    host: Reader, manager: Manager, release: OsRelease, cause: Cause, signs: Sequence[re.Match[str]],
    names: Sequence[str], text: str,
) -> str:  # fmt: skip
    """The remedy with its fields filled in, or '' where the cause has none for this system."""
    keys = (release.id, manager.name, "")
    template = next((cause.remedy[key] for key in keys if key in cause.remedy), "")
    look = LOOK.get(manager.name, LOOK[""]).format(program=manager.program)
    fields = {**_fields(signs, names, text), "program": manager.program, "names": shlex.join(names), "look": look}
    if any(f"{{{word}}}" in template and not fields[word] for word in ("repo", "url", "host")):
        return look
    if "resolv.conf" in template and host.root != "/" and not host.stat("/etc/resolv.conf"):
        return shlex.join(("cp", "-L", "--remove-destination", "/etc/resolv.conf", f"{host.root}/etc/resolv.conf"))
    return template.format_map(fields)


def _fields(signs: Sequence[re.Match[str]], names: Sequence[str], text: str) -> dict[str, str]:
    """What a remedy may take from the manager's output, quoted for a shell; '' for what it does not say."""
    sign = _telling_sign(signs, names)
    url = re.search(r"https?://[^\s'\"<>|\])?]*[^\s'\"<>|\])?:]", text)
    server = _named(sign) or (url[0].split("/")[2].rpartition("@")[2].partition(":")[0] if url else "")
    repository = re.search(REPOSITORY, text)
    pinned = [f"{_named(one)}={one['version']}" for one in signs if "version" in one.groupdict()]
    found = {"name": _named(sign), "url": url[0] if url else "", "host": server,
             "repo": next(filter(None, repository.groups()), "") if repository else ""}  # fmt: skip
    return {**{key: shlex.quote(value) if value else "" for key, value in found.items()}, "pinned": shlex.join(pinned)}


def end_of_life(profile: Profile, today: str, who: str, said: str) -> str:
    """What to do where the release is past its end of life, or where its repositories are gone by the output."""
    what = profile.eol_advice or "upgrade it"
    if profile.eol and profile.eol < today:
        return f"{who or profile.title} reached its end of life on {profile.eol}: {what}"
    gone = bool(profile.eol_signature) and re.search(profile.eol_signature, said) is not None
    return f"the repositories of {who or profile.title} may have been moved away: {what}" if gone else ""


def with_notes(remedy: str, *notes: str) -> str:
    """A remedy of one line, with what has to be known besides behind a #."""
    more = "; ".join(note for note in notes if note)
    return remedy + ("; " if "  # " in remedy else "  # ") * bool(more) + more
