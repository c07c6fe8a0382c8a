"""A certificate of this machine's that nobody signed, made on the spot."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

_WORDS = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"


def self_signed(folder: Path) -> Path:
    """A file with the key and the certificate; the certificate alone is beside it, in `both.pem.crt`."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    file = folder / "both.pem"
    made = [program, *_WORDS.split(), "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def encrypted(certificate: Path) -> ssl.SSLContext:
    """What a server on this machine speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
