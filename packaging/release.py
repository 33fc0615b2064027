"""Fill a folder with what a release consists of: `make release URL=https://… KEY=private.pem`.

The binaries, install.sh with its URL, checksums and public key filled in, SHA256SUMS and its signature, an SBOM
(CycloneDX 1.5), the profile table, the SELinux source and the CHANGELOG. Without a key nothing is signed, and
install.sh goes by the checksum alone. The key is an RSA key: openssl(1) of RHEL 7 knows no newer kind.
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

from fim_bootstrap import __version__

PROJECT = Path(__file__).resolve().parent.parent
NAME = "fim-bootstrap-linux-"  # and the architecture
SOURCES = PROJECT / "packaging/binary/sources.txt"
EPOCH = 1700000000  # as in build.sh: the same inputs give the same bytes


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description="make a release folder")
    parser.add_argument("--url", default="", help="where the folder will be served")
    parser.add_argument("--key", default="", help="private RSA key (PEM) to sign with")
    parser.add_argument("--folder", default=str(PROJECT / "dist/release"))
    words = parser.parse_args()
    binaries = sorted(PROJECT.glob(f"dist/{NAME}*"))
    if not binaries:
        parser.error(f"no {PROJECT / 'dist' / NAME}* is there: make binary")
    folder = Path(words.folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for binary in binaries:
        shutil.copy2(binary, folder)
    shutil.copy(PROJECT / "CHANGELOG.md", folder)
    archive(folder / "distro-profiles.tar", PROJECT / "distro_profiles")
    archive(folder / "selinux-source.tar", PROJECT / "fim_bootstrap/policy")
    (folder / "sbom.cdx.json").write_text(json.dumps(sbom(binaries), indent=1) + "\n")
    public = output("openssl", "pkey", "-in", words.key, "-pubout") if words.key else ""
    (folder / "install.sh").write_text(installer(binaries, words.url, public))
    (folder / "install.sh").chmod(0o755)
    sums = "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / "SHA256SUMS").write_text(sums)
    if words.key:
        (folder / "release.pem").write_text(public)
        output("openssl", "dgst", "-sha256", "-sign", words.key, "-out", str(folder / "SHA256SUMS.sig"),
               str(folder / "SHA256SUMS"))  # fmt: skip
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def sha256(path: Path) -> str:
    """The checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def output(*argv: str) -> str:
    """What a command prints."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def installer(binaries: list[Path], url: str, public: str) -> str:
    """install.sh of this release."""
    text = (PROJECT / "packaging/install.sh").read_text()
    sums = [(f"SHA256_{binary.name.removeprefix(NAME)}", sha256(binary)) for binary in binaries]
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


def sbom(binaries: list[Path]) -> dict[str, object]:
    """What is in the binaries, read off the files that they are built from."""
    components: list[dict[str, object]] = []
    for line in SOURCES.read_text().splitlines():
        found = re.match(r"([0-9a-f]{64})  (?:pool/\S+/)?([a-z0-9.]+?)(?:_|==)([^ _]+?)(?:\.orig|\.debian|  |$)", line)
        if found:
            digest, name, version = found.groups()
            shipped = name not in ("libffi", "ppbt")
            components.append({
                "type": "library", "name": name, "version": version, "scope": "required" if shipped else "excluded",
                "hashes": [{"alg": "SHA-256", "content": digest}],
            })  # fmt: skip
    for line in (PROJECT / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition(";")[0].strip().partition("==")
        if name != "tomli":  # its successor is in the standard library of the binary's Python
            purl = f"pkg:pypi/{name}@{version}"
            components.append({"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl})
    files = [{"type": "file", "name": binary.name, "hashes": [{"alg": "SHA-256", "content": sha256(binary)}]}
             for binary in binaries]  # fmt: skip
    tool = {"type": "application", "name": "fim-bootstrap", "version": __version__, "components": files}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": tool},
            "components": components}  # fmt: skip


if __name__ == "__main__":
    main()
