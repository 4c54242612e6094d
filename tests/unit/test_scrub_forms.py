"""The forms of secrets that are masked where steps are shown and logged, and in errors."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from layerline.cli.display.progress import PlainLines
from layerline.log import Journal, Status
from layerline.scrub import MaskedStream, Scrubber, SecretMasks

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b'p4ss "w\xc3\xb6rd"/+?&\\ of a test'
KEY = b"-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7\nc2Vjb25kLWxpbmU\nshort\n-----END KEY-----\n"


def masked(text: bytes, *values: bytes) -> bytes:
    masks = SecretMasks()
    for value in values:
        masks.add(value)
    stream = MaskedStream(masks)
    return stream.feed(text) + stream.finish()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "base64": base64.b64encode,
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 of x:value": lambda value: base64.b64encode(b"x:" + value),
    "base64 of user:value": lambda value: base64.b64encode(b"user:" + value),
    "base64 of it and more": lambda value: base64.b64encode(b"u" + value + b"and more"),
    "hex": lambda value: value.hex().encode(),
    "upper hex": lambda value: value.hex().upper().encode(),
    "URL": lambda value: quote(value, safe="").encode(),
    "JSON": lambda value: json.dumps(value.decode()).encode(),
    "JSON in UTF-8": lambda value: json.dumps(value.decode(), ensure_ascii=False).encode(),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("length", [9, 10, 11, len(SECRET)])
def test_a_secret_is_masked_in_its_forms(name: str, length: int) -> None:
    """G5 of reference/reliability.md; Dagger leaves them (issue 6552)."""
    value = SECRET.decode()[:length].encode().strip()
    encoded = ENCODINGS[name](value)
    text = b"before " + encoded + b" after\n"
    done = masked(text, value)
    assert b"***" in done
    assert done.startswith(b"before ")
    assert done.endswith(b" after\n")
    # Characters that depend on the bytes next to the value as well remain.
    assert len(done) - len(b"before *** after\n") <= 20
    for cut in range(len(text)):
        masks = SecretMasks()
        masks.add(value)
        stream = MaskedStream(masks)
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.finish() == done


def test_lines_of_a_key_are_masked_and_its_armour_is_not() -> None:
    done = masked(b"-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7\n", KEY)
    assert done == b"-----BEGIN KEY-----\n***\n"
    assert masked(b"a short one", KEY) == b"a short one"


@pytest.mark.parametrize("columns", [64, 76])
def test_wrapped_base64_is_masked_in_each_line(columns: int) -> None:
    value = random.Random(1).randbytes(300)
    encoded = base64.b64encode(value)
    lines = [encoded[at : at + columns] for at in range(0, len(encoded), columns)]
    for line in lines[:-1]:
        assert masked(line, value) == b"***"


def test_plain_words_are_not_masked() -> None:
    text = b"a password, MIIE, dGVzdA== and 61626364\n"
    assert masked(text, b"t3st-value-xyz", b"abc", b"") == text


def test_many_forms_do_not_make_output_slow() -> None:
    chance = random.Random(3)
    masks = SecretMasks()
    for _ in range(20):
        masks.add(chance.randbytes(40).hex().encode())
    stream = MaskedStream(masks)
    piece = b"a line of a build's log: /usr/lib/python3/dist-packages/module.py ok\n" * 950
    stream.feed(piece)
    began = time.process_time()
    for _ in range(160):
        assert stream.feed(piece) == piece
    assert 160 * len(piece) / (time.process_time() - began) > 20e6


def test_the_filter_misses_nothing() -> None:
    chance = random.Random(11)
    for _ in range(2000):
        values = [chance.randbytes(chance.randint(1, 12)) for _ in range(3)]
        text = bytearray(chance.randbytes(40))
        place = chance.randint(0, 28)
        text[place : place + len(values[0])] = values[0]
        scrubber = Scrubber(values)
        assert b"***" in scrubber.feed(bytes(text)) + scrubber.finish()


def test_the_journal_shows_no_secret() -> None:
    lines: list[str] = []
    journal = Journal(listeners=[PlainLines(lines.append, begins=True)])
    journal.masks.add(SECRET)
    text = SECRET.decode()
    with journal.step(f"withExec echo {text}") as step:
        for byte in SECRET + b"\n" + base64.b64encode(SECRET) + b"\n":
            step.write(bytes([byte]))
    journal.step("b").end(Status.ERROR, f"failed with {text}")
    shown = "".join(lines)
    assert text not in shown
    assert base64.b64encode(SECRET)[:-4].decode() not in shown
    assert shown.count("***") >= 5


def test_a_secret_of_the_largest_size_is_masked_soon() -> None:
    digits = random.Random(1)
    value = bytes(digits.choices(b"0123456789abcdef", k=512_000))
    began = time.monotonic()
    assert masked(b"it is " + value + b".", value) == b"it is ***."
    assert masked(b"plain text " * 1000, value) == b"plain text " * 1000
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("count", [3, 300])
def test_many_values_are_found_as_few_are(count: int) -> None:
    values = [b"value-%04d-of-many" % number for number in range(count)] + [b"val", b"value-0001"]
    text = b"a value-0001-of-many, value-0001-of, va, val and value-0002-of-man"
    for cut in range(len(text)):
        scrubber = Scrubber(values)
        shown = scrubber.feed(text[:cut]) + scrubber.feed(text[cut:]) + scrubber.finish()
        assert shown == b"a ***, ***-of, va, *** and ***ue-0002-of-man"
