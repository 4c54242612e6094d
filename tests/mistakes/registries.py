"""Servers that answer as registries do which are closed, empty, broken or none at all."""

from __future__ import annotations

import contextlib
import datetime
import ssl
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Answer = tuple[int, Mapping[str, str], bytes]

_JSON = {"Content-Type": "application/json"}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
_CHART = f"""{{"schemaVersion":2,"mediaType":"{_MANIFEST}","config":{{"mediaType":\
"application/vnd.cncf.helm.config.v1+json","digest":"{_EMPTY}","size":2}},"layers":[]}}"""
_LOGIN = {"WWW-Authenticate": 'Basic realm="team"', **_JSON}
# What each answers to a request for a manifest. Codes: OCI distribution-spec, "Error codes".
ANSWERS: Mapping[str, Answer] = {
    "wants a login": (401, _LOGIN, b'{"errors":[{"code":"UNAUTHORIZED"}]}'),
    "denies access": (403, _JSON, b'{"errors":[{"code":"DENIED"}]}'),
    "has no such image": (404, _JSON, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'),
    "is broken": (500, {}, b"internal error"),
    "is a web site": (200, {"Content-Type": "text/html"}, b"<html>welcome</html>"),
    "has a chart": (200, {"Content-Type": _MANIFEST}, _CHART.encode()),
    "has images of other platforms": (
        200,
        {"Content-Type": _INDEX},
        b'{"schemaVersion":2,"manifests":[{"mediaType":"%b","digest":"%b","size":2,'
        b'"platform":{"os":"linux","architecture":"s390x"}}]}'
        % (_MANIFEST.encode(), _EMPTY.encode()),
    ),
    "speaks TLS": (404, _JSON, b""),
}


@contextlib.contextmanager
def serving(name: str) -> Iterator[int]:
    """Serve one of the answers until the end of the block; yields the port."""
    status, headers, body = ANSWERS[name]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_ping = self.path == "/v2/" and status != 401
            self.send_response(200 if is_ping else status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if name == "speaks TLS":
        server.socket = _context().wrap_socket(server.socket, server_side=True)
    with running(server) as port:
        yield port


def _context() -> ssl.SSLContext:
    """TLS with a certificate that nobody knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "server.pem")
        file.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, *plain))
        context.load_cert_chain(file)
    return context
