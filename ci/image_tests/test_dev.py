"""Jupyter in the development image, asked from another container."""

from __future__ import annotations

import json
import os
import uuid

import httpx
import pytest
import websocket

HOST = "dev:8888"
TOKEN = os.environ["JUPYTER_TOKEN"]
CELL = "import torch; print(torch.ones(3).sum().item())"
SECONDS = 120.0


@pytest.fixture(scope="session")
def client() -> httpx.Client:
    headers = {"Authorization": f"token {TOKEN}"}
    return httpx.Client(base_url=f"http://{HOST}", headers=headers, timeout=SECONDS)


def test_jupyter_answers(client: httpx.Client) -> None:
    assert client.get("/api").json()["version"]
    assert client.get("/lab").status_code == 200


def test_nobody_gets_in_without_the_token() -> None:
    assert httpx.get(f"http://{HOST}/api/kernels").status_code == 403


def test_a_kernel_runs_a_cell(client: httpx.Client) -> None:
    kernel = client.post("/api/kernels", json={"name": "python3"}).raise_for_status().json()["id"]
    address = f"ws://{HOST}/api/kernels/{kernel}/channels?token={TOKEN}"
    channel = websocket.create_connection(address, timeout=SECONDS)
    try:
        channel.send(json.dumps(execute_request(CELL)))
        assert cell_output(channel) == "3.0\n"
    finally:
        channel.close()
        client.delete(f"/api/kernels/{kernel}")


def execute_request(code: str) -> dict[str, object]:
    """A request to run a cell, as Jupyter's protocol has it."""
    identity = uuid.uuid4().hex
    header = {
        "msg_id": identity,
        "msg_type": "execute_request",
        "session": identity,
        "username": "image-test",
        "version": "5.3",
    }
    return {
        "channel": "shell",
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False},
    }


def cell_output(channel: websocket.WebSocket) -> str:
    """What the cell prints until it is done; an exception in it fails the test."""
    text = ""
    while True:
        message = json.loads(channel.recv())
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                text += content["text"]
            case "error":
                pytest.fail("\n".join(content["traceback"]))
            case "execute_reply":
                assert content["status"] == "ok"
            case "status" if content["execution_state"] == "idle" and text:
                return text
