"""Why a package cannot be had, read off the manager's own output, and what a person can type next.

The lines are those of apt, dnf 4, dnf5, yum 3, tdnf, zypper and libcurl in the C locale. A remedy is one line for
a shell; what has to be known besides stands behind its #.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from ..host.reader import TIMED_OUT, Output, Reader
from ..model import OsRelease, Profile
from .rows import NETWORK, Manager

LOOK: Mapping[str, str] = {
    "apt": "grep -rs ^deb /etc/apt/sources.list /etc/apt/sources.list.d",
    "zypper": "zypper repos --uri",
    "transactional-update": "zypper repos --uri",
    "yum": "yum repolist all",
    "rpm-ostree": "cat /etc/yum.repos.d/*.repo",
    "": "{program} repolist --all",
}
INSTALL: Mapping[str, str] = {
    "apt": "apt-get install {names}",
    "zypper": "zypper install {names}",
    "transactional-update": "transactional-update pkg install {names}",
    "rpm-ostree": "rpm-ostree install {names}",
    "": "{program} install {names}",
}
WITHOUT: Mapping[str, str] = {  # the repository that does not answer
    **LOOK,
    "zypper": "zypper modifyrepo --disable {repo}",
    "transactional-update": "zypper modifyrepo --disable {repo}",
    "yum": "yum --disablerepo={repo} install {names}  # or skip_if_unavailable=1 in its file below /etc/yum.repos.d",
    "": "{program} --disablerepo={repo} install {names}  # or skip_if_unavailable=1 in its file below /etc/yum.repos.d",
}
VERSION_LOCKS = ("/etc/dnf/plugins/versionlock.list", "/etc/dnf/versionlock.toml",
                 "/etc/yum/pluginconf.d/versionlock.list")  # fmt: skip
LONGEST = 400  # characters of a line that is quoted
CLOCK = "chronyc makestep || timedatectl set-ntp true"
SWAP = "fallocate -l 2G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile"
SUSE_CODE = "SUSEConnect -r CODE"
RED_HAT = "subscription-manager register --org ORG --activationkey KEY"
OWN_CA: Mapping[str, str] = {  # a proxy that looks into TLS
    "apt": "cp CA.crt /usr/local/share/ca-certificates/ && update-ca-certificates",
    "zypper": "cp CA.pem /etc/pki/trust/anchors/ && update-ca-certificates",
    "transactional-update": "cp CA.pem /etc/pki/trust/anchors/ && update-ca-certificates",
    "": "cp CA.pem /etc/pki/ca-trust/source/anchors/ && update-ca-trust",
}
REFUSED = (
    r"Status code: 40[13]|HTTPS? Error 40[13]|40[13] when downloading|returned error: 40[13]"
    r"|\b40[13] +(?:Forbidden|Unauthorized)"
    r"|Permission to access '[^']*' denied"
)
REPOSITORY = (
    r"for repo(?:sitory)?:? '(?P<a>[^']+)'|for repository \"(?P<b>[^\"]+)\"|(?m:^\[(?P<c>[^|\]\s]+)\|)"
    r"|repomd\.xml from (?P<f>[\w.-]+): \[Errno"
    r"|for repo(?:sitory)?: (?P<d>[^\s/]+)|Problem repository: \[(?P<e>[^\]]+)\]"
)


class Cause(NamedTuple):
    """One reason: its sign in the manager's output, and a remedy by ID of os-release or by manager ('' for others)."""

    name: str
    sign: str  # may have the groups `name` and `version` of a package
    remedy: Mapping[str, str]
    note: str = ""
    answered: bool = False  # the repositories were asked, and have it


CAUSES = (
    Cause("the manager was killed, most likely because memory ran out",
          r"exit status 137$|MemoryError|Cannot allocate memory|std::bad_alloc|Out of memory", {"": SWAP}),
    Cause("it did not end in time", rf"exit status {TIMED_OUT}$", LOOK, "a mirror or a proxy may not answer"),
    Cause("the disk is full",
          r"No space left on device|enough free space|more space (?:needed )?on the|Disk quota exceeded"
          r"|Insufficient space|Not enough (?:free |disk )?space|Failed writing received data|Failure writing output"
          r"|Can't hardlink/copy",
          {"apt": "apt-get clean; df -h / /var", "zypper": "zypper clean --all; df -h / /var",
           "transactional-update": "snapper list; df -h / /var", "rpm-ostree": "rpm-ostree cleanup -bpm; df -h / /var",
           "": "{program} clean all; df -h / /var"}),
    Cause("the clock of this host is behind", r"is not valid yet|not yet valid|not yet activated", {"": CLOCK}),
    Cause("a certificate or the index of a repository has expired",
          r"certificate has expired|CERT_HAS_EXPIRED|certificate is expired|[Ee]xpired certificate"
          r"|Release file for \S+ is expired", {"": CLOCK},
          "where the clock is right, the mirror is out of date: use another one"),
    Cause("the image's certificate for RHUI is refused", rf"(?:{REFUSED})[^\n]*rhui[^\n]*microsoft",
          {"": "{program} -y --disablerepo='*' --enablerepo='*microsoft*' upgrade"},
          "the client certificate of RHUI has most likely expired"),
    Cause("the image's certificate for RHUI is refused", rf"(?:{REFUSED})[^\n]*rhui", {"": "rpm -qa '*rhui*'"},
          "reinstall that package from the repository of the cloud: it holds the client certificate"),
    Cause("the registration of the cloud is refused", r"Permission to access '[^']*susecloud[^']*' denied",
          {"": "registercloudguest --force-new"}),
    Cause("the subscription does not cover a repository",
          rf"(?:{REFUSED})[^\n]*(?:cdn\.redhat\.com|/pulp/|katello)", {"": "subscription-manager refresh"},
          "with Satellite: is the repository in the content view of this host"),
    Cause("the subscription does not cover a repository",
          r"Permission to access '[^']*(?:scc|updates)\.suse\.com[^']*' denied", {"": SUSE_CODE}),
    Cause("a proxy refuses", r"407 +Proxy|Status code: 407|returned error: 407|Proxy Authentication Required"
          r"|HTTP code 40[37] from proxy|CONNECT tunnel failed", {"": "env | grep -i proxy; {look}"},
          "https_proxy=http://USER:PASSWORD@HOST:PORT, or the proxy in the file of the manager"),
    Cause("a certificate is not trusted",
          r"SSL certificate problem|certificate verif|SSL peer certificate|self.signed certificate"
          r"|local issuer certificate|SSL connect error|[Cc]url(?: error \(?|#)(?:35|51|58|60|77)\b"
          r"|certificate is NOT trusted|TLS handshake|SSL_ERROR|SSL/TLS", OWN_CA,
          "where a proxy looks into TLS; else install ca-certificates anew"),
    Cause("a name does not resolve",
          r"Temporary failure (?:in name resolution|resolving)|(?:Could not|Couldn't|Cannot) resolve (?:host|proxy|')"
          r"|Name or service not known", {"": "cat /etc/resolv.conf; getent hosts {host}"}),
    Cause("the network does not carry", NETWORK, {"": "curl -sSI {url}"}, "a proxy is taken from https_proxy"),
    Cause("this host is not registered",
          r"not registered (?:with|to) an entitlement|Unable to read consumer identity|no valid subscription"
          r"|System is not registered|subscription manifest",
          {"rhel": RED_HAT, "rhcos": RED_HAT}),
    Cause("no repository is enabled",
          r"[Nn]o enabled repo|[Nn]o repositories defined|zypper: exit status 6$|Nothing can be installed",
          {**LOOK, "rhel": RED_HAT, "sles": SUSE_CODE, "sles_sap": SUSE_CODE, "sled": SUSE_CODE,
           "transactional-update": "transactional-update register -r CODE"}),
    Cause("a repository refuses this host", REFUSED, WITHOUT),
    Cause("a signature cannot be verified",
          r"is not signed|is unsigned|NO_PUBKEY|EXPKEYSIG|KEYEXPIRED|BADSIG|signatures? (?:could|couldn't|were)"
          r"|Signature verification failed|GPG (?:verification|check|signature)|OpenPGP check for|not signed"
          r"|Public key for|do not have any GPG public keys|not correctly installed",
          {"ubuntu": "apt-get install --reinstall ubuntu-keyring", "apt": "apt-get install --reinstall"
           " debian-archive-keyring", "zypper": "zypper refresh", "transactional-update": "zypper refresh",
           "": "rpm --import KEY-FILE"},
          "or get the key of that repository from its vendor, and compare its fingerprint"),
    Cause("a repository is gone",
          r"does not have a Release file|404 +Not Found|Status code: 404|HTTP Error 404|No URLs in mirrorlist"
          r"|Cannot find a valid baseurl|Couldn't open file|Could not open file|File not found - \S+"
          r"|not found on medium|is not a directory|Valid metadata not found", LOOK),
    Cause("no repository is enabled", r"there are no package lists after it", LOOK),
    Cause("the package is locked to a version",
          r"versionlock \((?P<name>\S+)\)|'(?P<other>\S+)' matches only packages excluded by versionlock",
          {"": "{program} versionlock delete {name}"}, answered=True),
    Cause("the package is excluded",
          r"exclude filtering for argument: (?P<name>\S+)|'(?P<other>\S+)' matches only excluded packages",
          {"dnf5": "dnf5 --setopt=disable_excludes='*' install {names}", "": "{program} --disableexcludes=all install"
           " {names}"}, "excludepkgs stands in the configuration of the manager or of a repository", answered=True),
    Cause("the package is hidden by a module", r"modular filtering for argument: (?P<name>\S+)",
          {"": "{program} --setopt='*.module_hotfixes=1' install {names}"}, answered=True),
    Cause("the package is pinned",
          r"(?m)^(?P<name>\S+):\n  Installed: .*\n  Candidate: \(none\)\n  Version table:\n"
          r" (?:\*\*\*|   ) (?P<version>\S+) -\d+$",
          {"": "apt-get install {name}={version}"}, "the pin stands in /etc/apt/preferences.d", answered=True),
    Cause("the package is locked", r"remove lock to allow (?:installation|removal) of (?P<name>\S+?)-[^-\s]+-[^-\s]+$",
          {"": "zypper removelock {name}"}, answered=True),
    Cause("a dependency cannot be had",
          r"(?:Pre)?Depends: (?P<name>[^\s:]+)[^\n]*(?:but|to be installed|not installable|not going)"
          r"|nothing provides '?(?P<other>[^\s']+)|requires (?P<third>[^\s,]+)[^\n]*none of the providers"
          r"|Requires: (?P<fourth>\S+)",
          {"apt": "apt-mark unhold {name}; apt-get install {name} {names}", "zypper": "zypper install {name}",
           "transactional-update": "zypper install {name}", "rpm-ostree": "rpm-ostree status",
           "": "{program} install {name}"}, answered=True),
    Cause("another package would have to be removed",
          r"remove is disabled|packages? will be REMOVED|conflicts with|[Ff]ile conflict", INSTALL,
          "it asks before it removes anything", answered=True),
)  # fmt: skip
# what tells that a repository was passed over, although the manager exits with 0
PASSED_OVER = (
    r"Ignoring repositor|Skipping repository|Failed to fetch|Failed to download metadata|have been ignored"
    r"|index files failed|Usable URL not found|One of the configured repositories failed"
)
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
    texts = [_readable(host, output) for output in said]
    for cause in CAUSES:
        for output, text in zip(said, texts):
            found = next(reversed([*re.finditer(cause.sign, text, re.MULTILINE)]), None)  # the last says most
            if found and (command := _filled(host, manager, release, cause, found, names, "\n".join(texts))):
                what = f"{cause.name}: {_line(text, found)}{_status(output)}"
                return Why(what, with_notes(command, cause.note), cause.answered)
    return None


def trouble(host: Reader, manager: Manager, said: Sequence[Output]) -> Optional[Why]:
    """What a manager complained of while it was asked, where no cause is known."""
    for output in said:
        text = _readable(host, output)
        unasked = output.status not in manager.good and not re.search(manager.absent, text)
        if unasked or re.search(PASSED_OVER, text):
            return Why(_telling(output, text) + _status(output), shlex.join(output.argv))
    return None


def _telling(output: Output, text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    return next((line for sign in (ERROR, PASSED_OVER) for line in lines if re.search(sign, line)), output.why())


def _readable(host: Reader, output: Output) -> str:
    """The output, with what the manager leaves to its exit status and to its files."""
    text = (output.stdout + "\n" + output.stderr).replace("&apos;", "'").replace("&quot;", '"')
    found = re.search(r"exclude filtering for argument: ([\w.+-]+)|'([\w.+-]+)' matches only excluded", text)
    name = (found[1] or found[2]) if found else ""
    if name and any(host.holds(path, name.encode()) for path in VERSION_LOCKS):
        text += f"\nversionlock ({name})"
    return f"{text}\n{output.argv[0]}: exit status {output.status}" if output.status else text


def _status(output: Output) -> str:
    return f" ({output.argv[0]} exit status {output.status})" if output.status else ""


def _line(text: str, found: re.Match[str]) -> str:
    """The line in which a sign ends."""
    begin = text.rfind("\n", 0, max(found.start(), found.end() - 1)) + 1
    end = text.find("\n", found.end())
    return re.sub(r"^(?:[EW]: |- |>>> )|\s+", " ", text[begin : end if end >= 0 else None].strip()).strip()[:LONGEST]


def _filled(
    host: Reader, manager: Manager, release: OsRelease, cause: Cause, found: re.Match[str], names: Sequence[str],
    text: str,
) -> str:  # fmt: skip
    """The remedy with its fields filled in, or '' where the cause has none for this system."""
    keys = (release.id, manager.name, "")
    template = next((cause.remedy[key] for key in keys if key in cause.remedy), "")
    groups = {key: value for key, value in found.groupdict().items() if value}
    repository = re.search(REPOSITORY, text)
    url = re.search(r"https?://[^\s'\"<>|\])]+", text)
    fields = {
        "program": manager.program,
        "names": shlex.join(names),
        "name": shlex.quote(next((value for key, value in groups.items() if key != "version"), "")),
        "version": shlex.quote(groups.get("version", "")),
        "repo": shlex.quote(next(filter(None, repository.groups()), "")) if repository else "",
        "url": shlex.quote(url[0]) if url else "https://HOST",
        "host": shlex.quote(url[0].split("/")[2].rpartition("@")[2].partition(":")[0]) if url else "HOST",
        "look": LOOK.get(manager.name, LOOK[""]).format(program=manager.program),
    }
    if "{repo}" in template and not fields["repo"]:
        return fields["look"]
    if "resolv.conf" in template and host.root != "/" and not host.stat("/etc/resolv.conf"):
        return shlex.join(("cp", "-L", "--remove-destination", "/etc/resolv.conf", f"{host.root}/etc/resolv.conf"))
    return template.format_map(fields)


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
