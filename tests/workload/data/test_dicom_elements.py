"""The walk steps over sequences of every kind and sees what is outside of them, once each."""

import struct
from collections.abc import Callable

import pytest

from ct_scan_mlops.data.dicom_elements import Encoding, elements, file_meta
from ct_scan_mlops.data.limits import Limits
from ct_scan_mlops.errors import SliceInvalid, SliceTooLarge, SliceUnsupported

UNKNOWN = 0xFFFFFFFF
SEQUENCE, UNKNOWN_KIND, ROWS, LAST = 0x00081140, 0x00091001, 0x00280010, 0x7FE00010

ITEM, ITEM_END, SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD


def marker(number: int, length: int = 0) -> bytes:
    return struct.pack("<HHI", 0xFFFE, number, length)


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    claimed = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, claimed) + value


def walked(data: bytes, encoding: Encoding = Encoding.EXPLICIT) -> list[tuple[int, bytes]]:
    return [
        (found.tag, bytes(found.value)) for found in elements(memoryview(data), encoding, Limits())
    ]


@pytest.fixture
def inner(element_of: Callable[..., bytes]) -> bytes:
    """An element that a sequence has inside, and that must not be taken for the image's."""
    return element_of(ROWS, "US", b"\x01\x00")


@pytest.fixture
def sequences(element_of: Callable[..., bytes], inner: bytes) -> dict[str, bytes]:
    """The ways to write a sequence of one item (PS3.5 7.5)."""
    open_item = marker(ITEM, UNKNOWN) + inner + marker(ITEM_END)
    closed_item = marker(ITEM, len(inner)) + inner
    end = marker(SEQUENCE_END)
    inside = implicit(ROWS, b"\x01\x00")
    nested = element_of(SEQUENCE, "SQ", closed_item + end, length=UNKNOWN)
    return {
        "both known": element_of(SEQUENCE, "SQ", closed_item),
        "both unknown": element_of(SEQUENCE, "SQ", open_item + end, length=UNKNOWN),
        "item known": element_of(SEQUENCE, "SQ", closed_item + end, length=UNKNOWN),
        "sequence known": element_of(SEQUENCE, "SQ", open_item),
        "empty": element_of(SEQUENCE, "SQ", end, length=UNKNOWN),
        "nested": element_of(
            SEQUENCE, "SQ", marker(ITEM, UNKNOWN) + nested + marker(ITEM_END) + end, length=UNKNOWN
        ),
        "of unknown kind": element_of(
            UNKNOWN_KIND,
            "UN",
            marker(ITEM, UNKNOWN) + inside + marker(ITEM_END) + end,
            length=UNKNOWN,
        ),
    }


@pytest.mark.parametrize(
    "way",
    [
        "both known",
        "both unknown",
        "item known",
        "sequence known",
        "empty",
        "nested",
        "of unknown kind",
    ],
)
def test_what_is_in_a_sequence_is_not_the_images(
    sequences: dict[str, bytes], element_of: Callable[..., bytes], way: str
) -> None:
    last = element_of(LAST, "OW", b"ab")
    found = walked(sequences[way] + last)
    assert found[-1] == (LAST, b"ab")
    assert ROWS not in [tag for tag, _ in found]


def test_implicit_elements_have_their_length_where_others_have_their_kind() -> None:
    item = marker(ITEM, UNKNOWN) + implicit(ROWS, b"\x01\x00") + marker(ITEM_END)
    data = implicit(SEQUENCE, item + marker(SEQUENCE_END), UNKNOWN) + implicit(ROWS, b"\x05\x00")
    assert walked(data, Encoding.IMPLICIT) == [(ROWS, b"\x05\x00")]


@pytest.mark.parametrize(
    "data",
    [
        marker(SEQUENCE_END),
        marker(ITEM_END),
        struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, UNKNOWN),
        struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, UNKNOWN) + marker(ITEM_END),
        struct.pack("<HH2sH", 0x0028, 0x0010, b"us", 2) + b"ab",
        struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 4) + b"ab",
        b"\x28\x00\x10",
    ],
    ids=["stray end", "stray item end", "never ends", "wrong end", "no kind", "short", "torn"],
)
def test_what_contradicts_itself_is_refused(data: bytes) -> None:
    with pytest.raises(SliceInvalid):
        walked(data)


def test_only_sequences_may_be_of_unknown_length(element_of: Callable[..., bytes]) -> None:
    with pytest.raises(SliceUnsupported, match="compressed"):
        walked(element_of(LAST, "OB", b"", length=UNKNOWN))


def test_elements_in_sequences_count_too(inner: bytes, element_of: Callable[..., bytes]) -> None:
    item = marker(ITEM, UNKNOWN) + inner * 100
    data = element_of(SEQUENCE, "SQ", item, length=UNKNOWN)
    with pytest.raises(SliceTooLarge):
        list(elements(memoryview(data), Encoding.EXPLICIT, Limits(max_elements=50)))


def test_the_file_meta_ends_with_its_group(element_of: Callable[..., bytes]) -> None:
    meta = element_of(0x00020010, "UI", b"1.2\0")
    data = meta + implicit(ROWS, b"\x05\x00")
    found = list(file_meta(memoryview(data), Limits()))
    assert [(one.tag, one.end) for one in found] == [(0x00020010, len(meta))]
