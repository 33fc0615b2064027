"""A server that speaks TLS, with a certificate that it signed itself."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CA = """\
[ca]
default_ca = own
[own]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = name
x509_extensions = address
[name]
commonName = supplied
[address]
subjectAltName = IP:127.0.0.1
[req]
distinguished_name = name
"""


def certified(folder: Path, end: str) -> Path:
    """The folder, with a key and a certificate that it signed itself, good from 2020 to then (ASN.1 time)."""
    (folder / "ca.cnf").write_text(CA.format(folder=folder))
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    asked = ("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", "key.pem",
             "-out", "request.pem")  # fmt: skip
    signed = ("openssl", "ca", "-batch", "-selfsign", "-config", "ca.cnf", "-keyfile", "key.pem", "-in", "request.pem",
              "-out", "certificate.pem", "-notext", "-startdate", "20200101000000Z", "-enddate", end)  # fmt: skip
    for argv in (asked, signed):
        subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    return folder


@contextlib.contextmanager
def tls(handler: type[BaseHTTPRequestHandler], folder: Path) -> Iterator[int]:
    """The port of a server with the certificate of a folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as here:
        here.socket = context.wrap_socket(here.socket, server_side=True)
        threading.Thread(target=here.serve_forever, daemon=True).start()
        yield here.server_port
        here.shutdown()
