"""The release folder, verified as a person would, and run from."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fim_bootstrap import __version__
from tests.binary.conftest import fingerprint, make
from tests.binary.test_binary import WORK
from tests.conftest import BINARY, PROJECT
from tests.documented import block, blocks
from tests.fetched import fetched
from tests.test_install import piped

pytestmark = pytest.mark.binary

PAGE = "docs/release.md"


def test_a_person_can_verify_it(release: Path, key: Path, tmp_path: Path) -> None:
    """The lines that the page begins with; what they print is what it promises."""
    lines, promised, *_ = blocks(PAGE)
    lines = lines.replace("https://example.org/v1", f"file://{release}")
    done = subprocess.run(["sh", "-e", "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{fingerprint(key)}  -\n{promised}"


def test_the_commands_of_security_md_give_the_fingerprint(release: Path, key: Path) -> None:
    command = block("SECURITY.md", "openssl pkey")
    done = subprocess.run(["sh", "-c", command], cwd=release, capture_output=True, text=True, check=True)
    assert done.stdout == f"{fingerprint(key)}  -\n"


def test_without_a_key_it_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    refused = make(tmp_path / "out")
    assert refused.returncode != 0
    assert "KEY=private.pem (UNSIGNED=yes" in refused.stderr
    assert not (tmp_path / "out").exists()
    assert make(tmp_path / "out", "--unsigned").returncode == 0
    assert not (tmp_path / "out/SHA256SUMS.sig").exists()


def test_make_refuses_before_it_builds() -> None:
    """The binary takes minutes."""
    for words, builds in (((), False), (("UNSIGNED=yes",), True), (("KEY=private.pem",), True)):
        planned = subprocess.run(["make", "-n", "release", *words], cwd=PROJECT, capture_output=True, text=True,
                                 check=True)  # fmt: skip
        assert ("packaging/binary/build.sh" in planned.stdout) is builds


def test_a_key_that_the_documents_do_not_name_signs_nothing(tmp_path: Path, key: Path, naming: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/kept").touch()
    other = tmp_path / "README.md"
    other.write_text("no key\n")
    for documents, lacking in (((), "SECURITY.md and README.md"), (("--naming", naming, other), "into README.md")):
        made = make(tmp_path / "out", "--key", str(key), *map(str, documents))
        assert made.returncode != 0
        assert lacking in made.stderr
        assert fingerprint(key) in made.stderr
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]
    made = make(tmp_path / "out", "--key", str(key), "--naming", str(naming))
    assert (made.returncode, made.stderr) == (0, "")
    assert f"signed by the key {fingerprint(key)}" in made.stdout


def test_its_installer_needs_nothing_but_itself(release: Path, key: Path, tmp_path: Path) -> None:
    target = tmp_path / "sbin"
    ran = piped((release / "install.sh").read_text(), "install", "--version", FIM_INSTALL_DIR=str(target))
    assert ran.status == 0, ran.err
    assert ran.out == f"fim-bootstrap {__version__}\n"
    promised = block(PAGE, "signed by the key 0a8e6c99").replace("0a8e6c99…", fingerprint(key))
    assert ran.err == promised.replace("/usr/local", str(tmp_path))
    done = subprocess.run([target / "fim-bootstrap", "profiles"], capture_output=True, check=True)
    assert b"el8" in done.stdout
    page = tmp_path / "share/man/man8/fim-bootstrap.8"
    assert page.read_bytes() == (PROJECT / "packaging/fim-bootstrap.8").read_bytes()


def sbom(release: Path) -> dict[str, Any]:
    """The document."""
    return dict(json.loads((release / "sbom.cdx.json").read_text()))


def test_the_sbom_names_what_is_inside(release: Path) -> None:
    document = sbom(release)
    names = {component["name"]: component["version"] for component in document["components"]}
    assert {"python3.13", "zlib", "bzip2", "pyinstaller", "sh", "distro"} <= set(names)
    digest = hashlib.sha256((release / BINARY.name).read_bytes()).hexdigest()
    files = {file["name"]: file["hashes"][0]["content"] for file in document["metadata"]["component"]["components"]}
    assert files[BINARY.name] == digest


def test_the_sbom_names_the_expat_that_is_inside(release: Path) -> None:
    interpreter = WORK / "python/bin/python3.13"
    if not interpreter.exists():
        pytest.skip("the binary was not built on this machine")
    done = subprocess.run([interpreter, "-c", "import pyexpat; print(pyexpat.EXPAT_VERSION)"], capture_output=True,
                          text=True, check=True, env={"LD_LIBRARY_PATH": str(WORK / "python/lib")})  # fmt: skip
    parts = [part for component in sbom(release)["components"] for part in component.get("components", ())]
    assert [f"{part['name']}_{part['version']}" for part in parts] == [done.stdout.strip()]


def components(part: dict[str, Any]) -> list[dict[str, Any]]:
    """A component and all below it."""
    return [part, *(found for below in part.get("components", ()) for found in components(below))]


def test_every_component_of_the_sbom_has_a_purl_that_the_reference_parser_takes(release: Path) -> None:
    document = sbom(release)
    purls = [part["purl"] for top in (document["metadata"]["component"], *document["components"])
             for part in components(top)]  # fmt: skip
    read = "import sys; from packageurl import PackageURL as P; [print(P.from_string(p)) for p in sys.argv[1:]]"
    done = subprocess.run(["python3", "-c", read, *purls], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(fetched("packageurl-python==0.17.6"))})  # fmt: skip
    assert done.stdout.split() == purls
    assert "pkg:deb/debian/python3.13@3.13.5-2%2Bdeb13u5?arch=source" in purls
    assert len({*purls}) == len(purls)


def test_the_sbom_is_valid(release: Path) -> None:
    read = "import sys; from cyclonedx.validation.json import JsonStrictValidator as V; from cyclonedx.schema import *;"
    read += "print(V(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()))"
    folder = fetched("cyclonedx-python-lib[json-validation]==11.12.0")
    done = subprocess.run(["python3", "-c", read, release / "sbom.cdx.json"], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": str(folder)})  # fmt: skip
    assert done.stdout == "None\n"


def test_the_same_inputs_give_the_same_release(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert make(tmp_path / name, "--url", "https://example.org", "--unsigned").returncode == 0
    sums = [(tmp_path / name / "SHA256SUMS").read_bytes() for name in ("one", "two")]
    assert sums[0] == sums[1]
    assert b".deb" in sums[0]
    assert b".rpm" in sums[0]
