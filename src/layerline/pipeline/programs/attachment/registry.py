"""A repository in a registry: blobs, manifests and referrers (OCI distribution specification 1.1).

The login is sent to the registry that it is for and to the token service that this one names, never
with a redirect.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MANIFESTS = f"{MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"
INDEXES = f"{INDEX}, application/vnd.docker.distribution.manifest.list.v2+json"
SECONDS = 60.0
TRIES = 4
AGAIN = (408, 429, 500, 502, 503, 504)
PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
DOCKER_HUB = "docker.io"
SECOND_LEVEL = ("co", "com", "org", "net", "ac", "gov", "edu")


class RegistryError(Exception):
    """A registry that refuses, or cannot be reached."""


class Answer(NamedTuple):
    """An answer of a registry; names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


class Address(NamedTuple):
    """Where an image was pushed: the registry, the repository in it, and its tag."""

    host: str
    repository: str
    tag: str


def parse_address(text: str) -> Address:
    """The parts of `HOST/REPOSITORY:TAG`; a name without a host is one of Docker Hub."""
    name = text.partition("@")[0]
    host, _, rest = name.partition("/")
    if not rest or not ("." in host or ":" in host or host == "localhost"):
        host, rest = DOCKER_HUB, name if "/" in name else f"library/{name}"
    repository, colon, tag = rest.rpartition(":")
    return Address(host, repository if colon else rest, tag if colon else "latest")


def parse_login(text: str, host: str) -> tuple[str, str] | None:
    """The login for a host, of USER:PASSWORD or of the text of docker's config.json."""
    text = text.strip()
    if not text.startswith("{"):
        user, _, password = text.partition(":")
        return (user, password) if user else None
    names = [host, f"https://{host}"]
    names += ["https://index.docker.io/v1/"] if host == DOCKER_HUB else []
    found = json.loads(text).get("auths", {})
    for entry in filter(None, map(found.get, names)):
        user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
        if user:
            return user, password
    return None


class Repository:
    """One repository; `login` is a user and a password."""

    def __init__(self, address: Address, login: tuple[str, str] | None) -> None:
        """Nothing is sent yet."""
        name = address.host.rpartition(":")[0] or address.host
        local = name in ("localhost", "[::1]") or name.startswith("127.")
        host = f"registry-1.{DOCKER_HUB}" if address.host == DOCKER_HUB else address.host
        self.address = address
        self.base = f"{'http' if local else 'https'}://{host}/v2/{address.repository}/"
        self.login = login
        self.authorization = ""
        self.context = None if local else ssl.create_default_context()

    def manifest(self, which: str, accept: str = MANIFESTS) -> Answer:
        """A manifest by a tag or a digest; the status is 404 where there is none."""
        headers = {"Accept": accept}
        found = self.send("GET", f"manifests/{which}", headers=headers, expect=(200, 404))
        if which.startswith("sha256:") and found.status == 200 and digest(found.body) != which:
            message = f"{self.address.host} sent other content than {which}"
            raise RegistryError(message)
        return found

    def blob(self, which: str) -> bytes:
        """A blob of a digest."""
        body = self.send("GET", f"blobs/{which}").body
        if digest(body) != which:
            message = f"{self.address.host} sent other content than {which}"
            raise RegistryError(message)
        return body

    def push_blob(self, data: bytes) -> None:
        """Upload a blob unless the repository has it."""
        if self.send("HEAD", f"blobs/{digest(data)}", expect=(200, 404)).status == 200:
            return
        place = self.send("POST", "blobs/uploads/", body=b"", expect=(202,)).headers["location"]
        joined = "&" if "?" in place else "?"
        query = urllib.parse.urlencode({"digest": digest(data)})
        headers = {"Content-Type": "application/octet-stream"}
        self.send("PUT", f"{place}{joined}{query}", headers=headers, body=data, expect=(201, 204))

    def put_manifest(self, which: str, data: bytes, kind: str = MANIFEST) -> Answer:
        """Put a manifest under a tag or its digest."""
        headers = {"Content-Type": kind}
        path = f"manifests/{which}"
        return self.send("PUT", path, headers=headers, body=data, expect=(200, 201, 202))

    def attach(self, manifest: dict[str, Any]) -> str:
        """Put a manifest that has a `subject`, and list it as its referrer; its digest."""
        data = json.dumps(manifest, separators=(",", ":")).encode()
        answer = self.put_manifest(digest(data), data)
        if "oci-subject" not in answer.headers:
            self._list_referrer(manifest, data)
        return digest(data)

    def _list_referrer(self, manifest: dict[str, Any], data: bytes) -> None:
        """Add it to the tag that lists referrers where the registry has no API for them.

        Another client may write the same tag at the same time: it is read again afterwards.
        """
        entry = {
            "mediaType": MANIFEST,
            "digest": digest(data),
            "size": len(data),
            "artifactType": manifest["artifactType"],
            "annotations": manifest.get("annotations", {}),
        }
        tag = manifest["subject"]["digest"].replace(":", "-")
        for _ in range(TRIES):
            entries = self._listed(tag)
            if any(each["digest"] == entry["digest"] for each in entries):
                return
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*entries, entry]}
            self.put_manifest(tag, json.dumps(index, separators=(",", ":")).encode(), INDEX)
        if not any(each["digest"] == entry["digest"] for each in self._listed(tag)):
            message = f"{tag} of {self.address.repository} changes while it is written"
            raise RegistryError(message)

    def _listed(self, tag: str) -> list[dict[str, Any]]:
        found = self.manifest(tag, INDEXES)
        return list(json.loads(found.body)["manifests"]) if found.status == 200 else []

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> Answer:
        """Send a request, again where the registry is busy, and with a login where it wants one."""
        url = urllib.parse.urljoin(self.base, path)
        answer = Answer(0, {}, b"")
        for attempt in range(TRIES):
            answer = self._once(method, url, headers or {}, body)
            if answer.status == 401 and self._log_in(answer, url):
                answer = self._once(method, url, headers or {}, body)
            if answer.status not in AGAIN:
                break
            time.sleep(0.2 * 2**attempt)
        if answer.status in expect:
            return answer
        if answer.status in (401, 403):
            message = (
                f"{self.address.host} refuses {method} in {self.address.repository} "
                f"({answer.status}): give --registry-login with a login that may push"
            )
            raise RegistryError(message)
        said = answer.body[:300].decode(errors="replace").strip()
        message = f"{self.address.host} answered {method} with {answer.status}: {said}"
        raise RegistryError(message)

    def _once(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        if self.authorization and _origin(url) == _origin(self.base):
            request.add_unredirected_header("Authorization", self.authorization)
        return fetch(request, self.context)

    def _log_in(self, answer: Answer, url: str) -> bool:
        """Answer a challenge (RFC 9110, and the token service of docker's registry)."""
        kind, _, rest = answer.headers.get("www-authenticate", "").partition(" ")
        known = dict(PARAMETER.findall(rest))
        basic = ""
        if self.login is not None:
            basic = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        if kind.lower() == "basic":
            changed = basic != self.authorization
            self.authorization = basic
            return bool(basic) and changed and _origin(url) == _origin(self.base)
        if kind.lower() != "bearer" or "realm" not in known:
            return False
        if not same_owner(self.base, known["realm"]):
            basic = ""
        scope = f"repository:{self.address.repository}:pull,push"
        query = {"service": known.get("service", ""), "scope": scope}
        request = urllib.request.Request(f"{known['realm']}?{urllib.parse.urlencode(query)}")
        if basic:
            request.add_unredirected_header("Authorization", basic)
        granted = fetch(request, self.context)
        if granted.status != 200:
            return False
        found = json.loads(granted.body)
        self.authorization = "Bearer " + str(found.get("token") or found.get("access_token"))
        return True


def fetch(request: urllib.request.Request, context: ssl.SSLContext | None = None) -> Answer:
    """Send a request once; every status is an answer, only no answer is an error."""
    try:
        with urllib.request.urlopen(request, timeout=SECONDS, context=context) as found:
            headers = {name.lower(): value for name, value in found.headers.items()}
            return Answer(found.status, headers, found.read())
    except urllib.error.HTTPError as exc:
        headers = {name.lower(): value for name, value in exc.headers.items()}
        return Answer(exc.code, headers, exc.read())
    except (urllib.error.URLError, OSError) as exc:
        host = urllib.parse.urlsplit(request.full_url).netloc
        reason = getattr(exc, "reason", exc)
        message = f"cannot reach {host}: {reason}"
        if isinstance(reason, ssl.SSLCertVerificationError):
            message = (
                f"the certificate of {host} is not trusted ({reason.verify_message}): give the "
                "certificate of its authority with --ca-bundle"
            )
        raise RegistryError(message) from exc


def digest(data: bytes) -> str:
    """The digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def same_owner(registry: str, realm: str) -> bool:
    """Whether a token service may get the login: the same host, or one of the same domain."""
    if _origin(registry) == _origin(realm):
        return True
    one, other = (urllib.parse.urlsplit(each) for each in (registry, realm))
    names = [each.hostname or "" for each in (one, other)]
    if other.scheme != "https" or any(":" in name or name[-1:].isdigit() for name in names):
        return False
    parent = names[0].partition(".")[2]
    labels = parent.split(".")
    if names[0] == names[1]:
        return True
    if len(labels) < 2 or (len(labels) == 2 and labels[0] in SECOND_LEVEL):
        return False
    return names[1] == parent or names[1].endswith(f".{parent}")


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
