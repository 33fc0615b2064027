"""The causes for which a package cannot be had: each with its sign in the managers' own output, and its remedy.

The lines are those of apt, dnf 4, dnf5, yum 3, tdnf, zypper and libcurl in the C locale. A remedy is one line for
a shell; what has to be known besides stands behind its #.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..host.reader import TIMED_OUT
from .rows import NETWORK, answered

LOOK: Mapping[str, str] = {
    "apt": "grep -rsE '^(deb|URIs)' /etc/apt/sources.list /etc/apt/sources.list.d",
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
REFUSED = rf"{answered('(?:401|403|451)')}|Permission to access '[^']*' denied"
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
          r"exit status 137$|MemoryError|Cannot allocate memory|std::bad_alloc|Out of memory|received signal 9\b"
          r"|scriptlet failed, signal 9", {"": SWAP}),
    Cause("it did not end in time", rf"exit status {TIMED_OUT}$", LOOK, "a mirror or a proxy may not answer"),
    Cause("the disk is full",
          r"No space left on device|enough free space|more space (?:needed )?on the|Disk quota exceeded"
          r"|Insufficient space|Not enough (?:free |disk )?space|Failed writing received data|Failure writing output"
          r"|Can't hardlink/copy",
          {"apt": "apt-get clean; df -h / /var", "zypper": "zypper clean --all; df -h / /var",
           "transactional-update": "snapper list; df -h / /var", "rpm-ostree": "rpm-ostree cleanup -bpm; df -h / /var",
           "": "{program} clean all; df -h / /var"}),
    Cause("a file system is read-only", r"Read-only file system|configured to be read-only", {"": "findmnt -O ro"},
          "mount it writable, or use the system's own update tool"),
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
          "user and password stand in https_proxy, or in the configuration of the manager"),
    Cause("a certificate is not trusted",
          r"SSL certificate problem|certificate verif|SSL peer certificate|self.signed certificate"
          r"|local issuer certificate|SSL connect error|[Cc]url(?: error \(?|#)(?:35|51|58|60|77)\b"
          r"|certificate is NOT trusted|TLS handshake|SSL_ERROR|SSL/TLS", OWN_CA,
          "where a proxy looks into TLS; else install ca-certificates anew"),
    Cause("a name does not resolve",
          r"Temporary failure (?:in name resolution|resolving '(?P<host>[^']+))"
          r"|(?:Could not|Couldn't|Cannot) resolve (?:host: |proxy: |')(?P<server>[\w.-]+)"
          r"|(?:Could not|Couldn't|Cannot) resolve (?:host|proxy)|Name or service not known",
          {"": "cat /etc/resolv.conf; getent hosts {host}"}),
    Cause("a download is not what its repository announces",
          r"Hash Sum mismatch|File has unexpected size|checksum doesn't match|incorrect checksum"
          r"|seems to be corrupted|[Dd]igest verification failed",
          {"apt": "apt-get clean && apt-get update", "zypper": "zypper clean --all && zypper refresh",
           "transactional-update": "zypper clean --all && zypper refresh",
           "rpm-ostree": "rpm-ostree refresh-md --force",
           "": "{program} clean all && {program} makecache"},
          "a mirror is being updated, or a proxy keeps old files: try again later, or use another mirror"),
    Cause("the server of a repository is in trouble",
          rf"{answered('(?:429|5[0-9][0-9])')}|is temporarily unaccessible", {"": "curl -sSI {url}"},
          "try again later; a proxy may answer in its place"),
    Cause("what answers is no repository",
          r"got 'NODATA'|Bad repomd file|repomd\.xml parser error|Parsing unsuccessful|Parse error at line"
          r"|Document is empty|StartTag: invalid",
          {"": "curl -sSi {url}"}, "a portal or a proxy may want a login first"),
    Cause("the network does not carry", NETWORK, {"": "curl -sSI {url}"}, "a proxy is taken from https_proxy"),
    Cause("apt does not accept that a release was renamed", r"changed its '\w+' value",
          {"apt": "apt-get --allow-releaseinfo-change update"}, "as a stable release becomes oldstable"),
    Cause("apt cannot speak https here", r"method driver \S*/https could not be found",
          {"apt": "apt-get install apt-transport-https ca-certificates"}, "from a repository without https"),
    Cause("the configuration of the manager is wrong",
          r"[Mm]alformed (?:entry|line|stanza)|Conflicting values set for|Type '[^']*' is not known"
          r"|Error in configuration file|contains garbage|(?i:config error)|No valid source \(baseurl"
          r"|has no or invalid url", LOOK),
    Cause("the database of the packages is broken",
          r"rpmdb open failed|Thread died in Berkeley DB|DB_RUNRECOVERY|disk image is malformed"
          r"|cannot open Packages (?:index|database)", {"": "cp -a /var/lib/rpm /var/lib/rpm.kept && rpm --rebuilddb"}),
    Cause("the manager itself does not run",
          r"No module named '?(?:dnf|yum|cli|libdnf|hawkey|librepo|rpm|gpg|urlgrabber)\b"
          r"|problem importing one of the Python modules|bad interpreter|error while loading shared libraries"
          r"|symbol lookup error|exit status (?:126|139)$",
          {"": "{program} --version; head -n 1 /usr/bin/{program}"},
          "its Python or a library was replaced or removed"),
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
          rf"does not have a Release file|{answered('(?:404|410)')}|No URLs in mirrorlist"
          r"|Cannot find a valid baseurl|Couldn't open file|Could not open file|File not found - \S+"
          r"|not found on medium|is not a directory|Valid metadata not found", LOOK),
    Cause("no repository is enabled", r"there are no package lists after it", LOOK),
    Cause("the package is locked to a version",
          r"versionlock \((?P<name>\S+)\)|'(?P<other>\S+)' matches only packages excluded by versionlock",
          {"": "{program} versionlock delete {name}"}, answered=True),
    Cause("the package is excluded",
          r"exclude filtering for argument: (?P<name>\S+)|'(?P<other>\S+)' matches only excluded packages"
          r"|exclude\s*=.+ keeps out (?P<third>\S+)$",
          {"dnf5": "dnf5 --setopt=disable_excludes='*' --setopt='*.module_hotfixes=1' install {names}",
           "": "{program} --disableexcludes=all install {names}"},
          "excludepkgs or includepkgs in the configuration of the manager or of a repository", answered=True),
    Cause("the package is hidden by a module", r"modular filtering for argument: (?P<name>\S+)",
          {"": "{program} --setopt='*.module_hotfixes=1' install {names}"}, answered=True),
    Cause("the package is pinned",
          r"(?m)^(?P<name>\S+):\n  Installed: .*\n  Candidate: \(none\)\n  Version table:\n"
          r" (?:\*\*\*|   ) (?P<version>\S+) -\d+$",
          {"": "apt-get install {pinned}"}, "the pin stands in /etc/apt/preferences.d", answered=True),
    Cause("the package is locked", r"remove lock to allow (?:installation|removal) of (?P<name>\S+?)-[^-\s]+-[^-\s]+$",
          {"": "zypper removelock {name}"}, answered=True),
    Cause("the installed packages do not fit together", r"[Uu]nmet dependencies\. Try '?apt",
          {"apt": "apt-get --fix-broken install"}, answered=True),
    Cause("a dependency cannot be had",
          r"(?:Pre)?Depends: (?P<name>[^\s:]+)[^\n]*(?:but|to be installed|not installable|not going)"
          r"|nothing provides '?(?P<other>[^\s']+)|requires (?P<third>[^\s,]+)[^\n]*none of the providers"
          r"|Requires: (?P<fourth>\S+)",
          {"apt": "apt-mark unhold {name}; apt-get install {name} {names}", "zypper": "zypper install {name}",
           "transactional-update": "zypper install {name}", "rpm-ostree": "rpm-ostree status",
           "": "{program} install {name}"}, answered=True),
    Cause("a file of it belongs to another package",
          r"trying to overwrite '[^']+', which is also in package (?P<name>\S+)"
          r"|file \S+ from install of \S+ conflicts with file from package (?P<other>\S+)"
          r"|conflicts with file\s+(?:/\S+\s+)?from package\s+(?P<third>\S+)",
          {"apt": "dpkg -L {name}", "": "rpm -ql {name}"}, "remove that package, or leave this one out"),
    Cause("another package would have to be removed",
          r"remove is disabled|packages? will be REMOVED|conflicts with", INSTALL,
          "it asks before it removes anything", answered=True),
    Cause("the script of a package failed",
          r"installed (?P<name>\S+) package \S+ script subprocess|new (?P<other>\S+) package \S+ script subprocess"
          r"|scriptlet in rpm package (?P<third>\S+)|%\w+\((?P<fourth>\S+?)-[^-\s]+-[^-\s)]+\) scriptlet failed"
          r"|Error in %\w+ scriptlet: (?P<fifth>\S+?)-\d+:",
          {**INSTALL, "apt": "dpkg --configure -a"}, "what it said is in /var/log/fim-bootstrap.log"),
)  # fmt: skip
