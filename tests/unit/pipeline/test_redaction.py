"""What may not be in a statement is replaced, and nothing else."""

from __future__ import annotations

import base64
import json

import pytest

from layerline.pipeline.redaction import HOST, PATH, SECRET, Redaction, secret_values

REDACTION = Redaction(secrets=("p4ssw0rd",), hosts=("index.example.net:8443",))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("token p4ssw0rd!", f"token {SECRET}!"),
        ("https://me:other@example.com/x", "https://example.com/x"),
        ("https://index.example.net:8443/simple", f"https://{HOST}/simple"),
        ("git+https://10.1.2.3/x@abc", f"git+https://{HOST}/x@abc"),
        ("oci://registry.corp:5000/base", f"oci://{HOST}/base"),
        ("registry.corp.internal:5000/base", f"{HOST}/base"),
        ("192.168.0.7:8080", HOST),
        ("http://localhost:8000/", f"http://{HOST}/"),
        ("http://[::1]:8000/", f"http://{HOST}/"),
        ("/home/me/project/a.py: no such file", f"{PATH}: no such file"),
        ("see /root/.cache/x and /tmp/y", f"see {PATH} and {PATH}"),
        (r"C:\Users\me\x", PATH),
    ],
)
def test_what_only_the_publisher_may_know_is_replaced(text: str, left: str) -> None:
    assert REDACTION.text(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "nvidia-curand==10.3.5.147",  # four numbers are a version, too
        "pkg:pypi/nvidia-curand-cu12@10.3.5.147",
        "pkg:deb/debian/openssl@1%3A3.0?arch=amd64",
        "docker.io/library/debian:bookworm-slim@sha256:" + "a" * 64,
        "pkg:cargo/cryptography-cffi@0.50.2?download_url=file://cryptography-cffi",
        "https://spdx.org/spdxdocs/api-1",
        "torch._inductor.internal: imported",
        "/opt/venv/lib/python3.11/site-packages/torch/home/x.py",
        "/app/src",
    ],
)
def test_what_everybody_may_know_stays(text: str) -> None:
    assert REDACTION.text(text) == text


def test_variables_named_for_secrets_and_lone_hosts_of_settings_are_replaced() -> None:
    env = {"API_TOKEN": "abc", "PASSWORD": "x", "TOKENIZERS_PARALLELISM": "false", "LEVEL": "1"}
    assert REDACTION.apply({"env": env}) == {
        "env": {**env, "API_TOKEN": SECRET, "PASSWORD": SECRET}
    }
    assert REDACTION.apply(["10.0.0.5", "db.corp"], alone=True) == [HOST, HOST]
    assert REDACTION.apply(["10.0.0.5", "1.2"]) == ["10.0.0.5", "1.2"]
    assert REDACTION.apply({"port": 8000, "none": None}) == {"port": 8000, "none": None}


def test_each_form_of_a_secret_has_its_values() -> None:
    assert "pw123456" in secret_values("me:pw123456\n")
    assert "pw123456" in secret_values("machine h login me password pw123456")
    auth = base64.b64encode(b"me:pw123456").decode()
    config = json.dumps({"auths": {"h": {"auth": auth}, "i": {"identitytoken": "tok12345"}}})
    assert {auth, "pw123456", "tok12345"} <= set(secret_values(config))
    line = "MC4CAQAwBQYDK2VwBCIEIJ"
    pem = f"-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n"
    assert secret_values(pem) == (line,)
