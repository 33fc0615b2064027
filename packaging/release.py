"""Fill a folder with what a release consists of: `make release URL=https://… KEY=private.pem`.

The binaries, a .deb and an .rpm of each, the man page, install.sh with its URL, checksums and public key filled in,
SHA256SUMS and its signature, an SBOM (CycloneDX 1.5), the profile table, the SELinux source and the CHANGELOG. The
key is an RSA key: openssl(1) of RHEL 7 knows no newer kind. Without one nothing is made, unless --unsigned says that
this is meant; then install.sh goes by the checksum alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fim_bootstrap import __version__

PROJECT = Path(__file__).resolve().parent.parent
NAME = "fim-bootstrap-linux-"  # and the architecture
SOURCES = PROJECT / "packaging/binary/sources.txt"
MAN_PAGE = PROJECT / "packaging/fim-bootstrap.8"
NAMING = [PROJECT / "SECURITY.md", PROJECT / "README.md"]  # where users find the fingerprint of the release key
EPOCH = 1700000000  # as in build.sh: the same inputs give the same bytes
BUNDLED = {"expat": "2.7.1"}  # libraries in CPython's own source that are in the binary; a test asks that Python


def main() -> None:
    """Write the folder."""
    options, public, binaries = arguments()
    folder = Path(options.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for binary in binaries:
        shutil.copy2(binary, folder)
        output(str(PROJECT / "packaging/packages/build.sh"), str(binary), __version__, str(folder))
    for path in (PROJECT / "CHANGELOG.md", MAN_PAGE):
        shutil.copy(path, folder)
    archive(folder / "distro-profiles.tar", PROJECT / "distro_profiles")
    archive(folder / "selinux-source.tar", PROJECT / "fim_bootstrap/policy")
    (folder / "sbom.cdx.json").write_text(json.dumps(sbom(binaries), indent=1) + "\n")
    (folder / "install.sh").write_text(installer(binaries, options.url, public))
    (folder / "install.sh").chmod(0o755)
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / "SHA256SUMS").write_text(sums)
    if public:
        (folder / "release.pem").write_text(public)
        output("openssl", "dgst", "-sha256", "-sign", options.key, "-out", str(folder / "SHA256SUMS.sig"),
               str(folder / "SHA256SUMS"))  # fmt: skip
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if public:
        print(f"signed by the key {fingerprint(public)}")


def arguments() -> tuple[argparse.Namespace, str, list[Path]]:
    """What is asked for, the public key (PEM) or '', and the binaries that are there; what cannot be made is refused.

    A key that the documents do not name signs nothing: nobody could compare it by another channel.
    """
    parser = argparse.ArgumentParser(description="make a release folder")
    parser.add_argument("--url", default="", help="where the folder will be served")
    parser.add_argument("--key", default="", help="private RSA key (PEM) to sign with")
    parser.add_argument("--unsigned", action="store_true", help="make a release that nobody signed")
    parser.add_argument("--folder", default=str(PROJECT / "dist/release"))
    parser.add_argument("--naming", type=Path, nargs="+", default=NAMING, help="what names the key's fingerprint")
    options = parser.parse_args()
    if not options.key and not options.unsigned:
        parser.error("a release is signed: KEY=private.pem (UNSIGNED=yes makes one that is not)")
    binaries = sorted(PROJECT.glob(f"dist/{NAME}*"))
    if not binaries:
        parser.error(f"no {PROJECT / 'dist' / NAME}* is there: make binary")
    public = output("openssl", "pkey", "-in", options.key, "-pubout").decode().strip() if options.key else ""
    unnamed = [path.name for path in options.naming if public and fingerprint(public) not in path.read_text()]
    if unnamed:
        parser.error(f"nobody could compare this key by another channel than the release itself: "
                     f"write its fingerprint into {' and '.join(unnamed)}: {fingerprint(public)}")  # fmt: skip
    return options, public, binaries


def fingerprint(public: str) -> str:
    """The SHA-256 of a public key (PEM) in DER, as SECURITY.md has a person compute it."""
    return hashlib.sha256(output("openssl", "pkey", "-pubin", "-outform", "DER", given=public.encode())).hexdigest()


def sha256(path: Path) -> str:
    """The checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def output(*argv: str, given: bytes = b"") -> bytes:
    """What a command prints that reads `given`; its complaints go where ours go."""
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, input=given).stdout


def installer(binaries: list[Path], url: str, public: str) -> str:
    """install.sh of this release."""
    text = (PROJECT / "packaging/install.sh").read_text()
    sums = [(f"SHA256_{binary.name.removeprefix(NAME)}", sha256(binary)) for binary in binaries]
    sums.append(("SHA256_MAN", sha256(MAN_PAGE)))
    for name, value in (("RELEASE_URL", url), ("PUBLIC_KEY", public), *sums):
        text = text.replace(f"{name}=''\n", f"{name}='{value}'\n", 1)
    return text


def archive(path: Path, folder: Path) -> None:
    """A tar of a folder's files that depends on their content alone."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(p for p in folder.iterdir() if p.is_file()):
            info = tarfile.TarInfo(f"{folder.name}/{file.name}")
            info.size, info.mtime, info.mode = file.stat().st_size, EPOCH, 0o644
            with file.open("rb") as content:
                tar.addfile(info, content)


class Component(NamedTuple):
    """Something that is in the binaries, or that they are made with."""

    name: str
    version: str
    purl: str
    sha256: str = ""
    shipped: bool = True
    parts: tuple[Component, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The component as CycloneDX has it."""
        found: dict[str, object] = {
            "type": "library", "name": self.name, "version": self.version, "purl": self.purl, "bom-ref": self.purl,
            "scope": "required" if self.shipped else "excluded",
        }  # fmt: skip
        if self.sha256:
            found["hashes"] = [{"alg": "SHA-256", "content": self.sha256}]
        if self.parts:
            found["components"] = [part.as_json() for part in self.parts]
        return found


def sbom(binaries: list[Path]) -> dict[str, object]:
    """What is in the binaries, read off the files that they are built from."""
    listed = [line.split() for line in SOURCES.read_text().splitlines() if not line.startswith("#")]
    components = [*(source(*words) for words in listed), *required()]
    own = f"pkg:generic/fim-bootstrap@{__version__}"
    files = [
        {"type": "file", "name": binary.name, "purl": f"{own}?file_name={binary.name}",
         "hashes": [{"alg": "SHA-256", "content": sha256(binary)}]}
        for binary in binaries
    ]  # fmt: skip
    tool = {"type": "application", "name": "fim-bootstrap", "version": __version__, "purl": own, "components": files}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": tool},
            "components": [component.as_json() for component in components]}  # fmt: skip


def source(digest: str, what: str, file: str = "") -> Component:
    """A line of sources.txt: a file of a release on PyPI, or one of Debian's pool.

    A pristine tarball is upstream's, whoever keeps it: `generic`. Only Debian's own part of a source is Debian's.
    """
    shipped = not re.search(r"\b(libffi|ppbt)\b", what)
    if file:
        name, _, version = what.partition("==")
        return Component(name, version, f"pkg:pypi/{name}@{version}?file_name={quote(file)}", digest, shipped)
    name, _, rest = what.rpartition("/")[2].partition("_")
    version, _, kind = rest.rpartition(".tar.")[0].rpartition(".")
    if kind == "debian":
        return Component(name, version, f"pkg:deb/debian/{name}@{quote(version)}?arch=source", digest, shipped)
    version = version.rpartition("really")[2]  # 1.3.dfsg+really1.3.1
    upstream, _, _ = name.partition("3.13")  # python3.13
    parts = (
        tuple(Component(*pair, f"pkg:generic/{'@'.join(pair)}") for pair in BUNDLED.items()) if upstream != name else ()
    )
    return Component(name, version, f"pkg:generic/{upstream}@{version}", digest, shipped, parts)


def required() -> list[Component]:
    """The libraries of requirements.txt; tomli's successor is in the standard library of the binary's Python."""
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    pairs = [line.partition(";")[0].strip().split("==") for line in lines]
    return [Component(name, version, f"pkg:pypi/{name}@{version}") for name, version in pairs if name != "tomli"]


if __name__ == "__main__":
    main()
