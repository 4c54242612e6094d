"""Asks /health at fixed moments, each over a new connection, and prints how long each answer took.

A program of its own: in the process that makes the flood it would measure that process. The moments
do not move when an answer is late, so that a stall counts for each probe that falls into it.
"""

import socket
import sys
import threading
import time

EVERY_SECONDS = 0.02
REQUEST = b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


def probe(port: int, due: float, took: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST)
        answer = connection.recv(4096)
    if answer.startswith(b"HTTP/1.1 200"):
        took.append(time.monotonic() - due)


def main(port: int, seconds: float) -> None:
    took: list[float] = []
    began = time.monotonic()
    probes = []
    print("probing", flush=True)
    for number in range(int(seconds / EVERY_SECONDS)):
        due = began + number * EVERY_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        probes.append(threading.Thread(target=probe, args=(port, due, took)))
        probes[-1].start()
    for each in probes:
        each.join()
    took += [float("inf")] * (len(probes) - len(took))
    print(*took)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
