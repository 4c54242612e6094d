"""Every hostile file is refused by name, fast, and in less memory than a large slice takes."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_rescale

from ct_scan_mlops.data.dicom import read_dicom
from ct_scan_mlops.data.limits import Limits
from ct_scan_mlops.data.reading import read_slice, resized, windowed
from ct_scan_mlops.errors import SliceInvalid, SliceRefused, SliceTooLarge, SliceUnsupported

MIB = 1024 * 1024
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT = "1.2.840.10008.1.2"


def deflated_zeros(count: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [packer.compress(bytes(MIB)) for _ in range(count // MIB)]
    return b"".join([*parts, packer.flush()])


def nested(depth: int) -> bytes:
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return (sequence + item) * depth


class TestHostileDicom:
    @pytest.mark.parametrize(
        ("values", "error"),
        [
            ({"Rows": 60000, "Columns": 60000}, SliceTooLarge),
            ({"Rows": 1, "Columns": 65535}, SliceTooLarge),
            ({"Rows": 4096, "Columns": 4096}, SliceTooLarge),
            ({"NumberOfFrames": "1000000000"}, SliceTooLarge),
            ({"NumberOfFrames": "0 "}, SliceTooLarge),
            ({"NumberOfFrames": "1A"}, SliceInvalid),
            ({"Rows": 0}, SliceInvalid),
            ({"Rows": 7}, SliceInvalid),
            ({"Columns": 9}, SliceInvalid),
            ({"BitsAllocated": 32}, SliceUnsupported),
            ({"BitsStored": 17}, SliceUnsupported),
            ({"BitsStored": 0}, SliceUnsupported),
            ({"SamplesPerPixel": 3}, SliceUnsupported),
            ({"PhotometricInterpretation": "RGB "}, SliceUnsupported),
            ({"RescaleSlope": "nan "}, SliceInvalid),
            ({"RescaleSlope": "1e308 "}, SliceInvalid),
            ({"RescaleIntercept": "inf "}, SliceInvalid),
            ({"RescaleIntercept": "9" * 400}, SliceInvalid),
        ],
        ids=str,
    )
    def test_a_header_that_asks_for_too_much_or_does_not_fit_is_refused(
        self,
        dicom: Callable[..., bytes],
        refuses: Callable[..., None],
        values: dict[str, int | str],
        error: type[SliceRefused],
    ) -> None:
        refuses(dicom(values=values), error)

    def test_a_deflated_file_of_half_a_megabyte_that_is_512_mib_is_refused(
        self, dicom: Callable[..., bytes], refuses: Callable[..., None]
    ) -> None:
        data = dicom(syntax=DEFLATED, body=deflated_zeros(512 * MIB))
        assert len(data) < 600_000
        refuses(data, SliceTooLarge)

    @pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", DEFLATED])
    def test_sequences_10_000_deep_are_refused(
        self, dicom: Callable[..., bytes], refuses: Callable[..., None], syntax: str
    ) -> None:
        body = nested(10_000)
        if syntax == DEFLATED:
            packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
            body = packer.compress(body) + packer.flush()
        refuses(dicom(syntax=syntax, body=body), SliceTooLarge)

    def test_a_million_empty_elements_are_refused(
        self,
        dicom: Callable[..., bytes],
        refuses: Callable[..., None],
        element_of: Callable[..., bytes],
    ) -> None:
        many = element_of(0x00090010, "LO", b"") * 1_000_000
        refuses(dicom(before=many), SliceTooLarge)

    def test_a_million_empty_elements_of_the_file_meta_are_refused(
        self, refuses: Callable[..., None], element_of: Callable[..., bytes]
    ) -> None:
        many = element_of(0x00020016, "UI", b"") * 1_000_000
        refuses(b"\0" * 128 + b"DICM" + many, SliceTooLarge)

    @pytest.mark.parametrize("length", [126, 130, 0xFFFFFFF0])
    def test_pixels_that_are_not_as_long_as_they_say_are_refused(
        self, dicom: Callable[..., bytes], refuses: Callable[..., None], length: int
    ) -> None:
        refuses(dicom(pixel_length=length), SliceInvalid)

    def test_compressed_pixels_are_refused_with_the_program_that_helps(
        self, dicom: Callable[..., bytes]
    ) -> None:
        with pytest.raises(SliceUnsupported, match="gdcmconv --raw"):
            read_slice(dicom(pixel_length=0xFFFFFFFF))
        with pytest.raises(SliceUnsupported, match="gdcmconv --raw"):
            read_slice(dicom(syntax="1.2.840.10008.1.2.4.90"))

    def test_an_element_that_is_there_twice_is_refused(
        self, dicom: Callable[..., bytes], element_of: Callable[..., bytes]
    ) -> None:
        twice = element_of(0x00280010, "US", struct.pack("<H", 60000))
        with pytest.raises(SliceInvalid, match="Rows twice"):
            read_slice(dicom(before=twice))


class TestHostilePng:
    @pytest.mark.parametrize("side", [20_000, 13_000, 4_096, 2**31 - 1])
    def test_twenty_kilobytes_that_announce_800_megabytes_are_refused(
        self, png: Callable[..., bytes], refuses: Callable[..., None], side: int
    ) -> None:
        packed = zlib.compress(bytes(20 * MIB), 9)
        data = png(width=side, height=side, depth=16, packed=packed)
        assert len(data) < 25_000
        refuses(data, SliceTooLarge)

    def test_pixels_that_unpack_to_800_megabytes_behind_a_small_header_are_refused(
        self, png: Callable[..., bytes], refuses: Callable[..., None]
    ) -> None:
        packer = zlib.compressobj(9)
        zeros = b"".join(packer.compress(bytes(MIB)) for _ in range(800)) + packer.flush()
        refuses(png(packed=zeros), SliceTooLarge)

    @pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"abCd"])
    def test_64_mib_beside_the_pixels_are_refused_also_where_files_may_be_larger(
        self,
        png: Callable[..., bytes],
        refuses: Callable[..., None],
        chunk_of: Callable[[bytes, bytes], bytes],
        kind: bytes,
    ) -> None:
        data = png(between=chunk_of(kind, b"a\0\0" + bytes(64 * MIB)))
        refuses(data, SliceTooLarge)
        refuses(data, SliceTooLarge, Limits(max_bytes=128 * MIB))

    def test_text_that_unpacks_to_64_mib_is_never_unpacked(
        self, png: Callable[..., bytes], chunk_of: Callable[[bytes, bytes], bytes]
    ) -> None:
        text = chunk_of(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 * MIB), 9))
        assert np.array_equal(read_slice(png(between=text)).pixels, read_slice(png()).pixels)

    @pytest.mark.parametrize("frames", [1, 10_000])
    def test_an_animation_is_refused(
        self,
        png: Callable[..., bytes],
        refuses: Callable[..., None],
        chunk_of: Callable[[bytes, bytes], bytes],
        frames: int,
    ) -> None:
        frame = chunk_of(b"fcTL", bytes(26)) + chunk_of(b"fdAT", bytes(20))
        head = chunk_of(b"acTL", struct.pack(">II", frames, 0))
        refuses(png(between=head + frame * frames), SliceRefused)

    @pytest.mark.parametrize(("width", "height"), [(5_000, 2), (2, 5_000)])
    def test_a_picture_of_few_pixels_may_not_be_any_length(
        self, png: Callable[..., bytes], refuses: Callable[..., None], width: int, height: int
    ) -> None:
        packed = zlib.compress(bytes(height * (width + 1)))
        refuses(png(width=width, height=height, packed=packed), SliceTooLarge)

    @pytest.mark.parametrize("packed", [b"", b"no zlib", zlib.compress(bytes(30))])
    def test_pixels_that_are_too_few_are_refused(
        self, png: Callable[..., bytes], refuses: Callable[..., None], packed: bytes
    ) -> None:
        refuses(png(packed=packed), SliceInvalid)

    def test_a_second_header_does_not_replace_the_measured_one(
        self, png: Callable[..., bytes], chunk_of: Callable[[bytes, bytes], bytes]
    ) -> None:
        second = chunk_of(b"IHDR", struct.pack(">IIBBBBB", 4000, 1000, 8, 0, 0, 0, 0))
        assert read_slice(png(between=second)).pixels.shape == (8, 8)


@pytest.mark.parametrize("form", ["GIF", "EPS", "PDF", "JPEG", "TIFF", "BMP", "PPM", "WEBP"])
def test_other_formats_are_refused_whatever_they_are_called(
    picture: Callable[[str], bytes], refuses: Callable[..., None], form: str
) -> None:
    refuses(picture(form), SliceUnsupported)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", SliceInvalid),
        (b"patient,slice\n1,2\n" * 1000, SliceUnsupported),
        (b"SIMPLE  =                    T" + b" " * 5000, SliceUnsupported),
        (b"\x89PNG\r\n\x1a\n", SliceInvalid),
        (b"\0" * 128 + b"DICM", SliceUnsupported),
        (bytes(17 * MIB), SliceTooLarge),
    ],
    ids=["empty", "text", "fits", "signature", "preamble", "too-long"],
)
def test_what_is_no_slice_is_refused(
    refuses: Callable[..., None], data: bytes, error: type[SliceRefused]
) -> None:
    refuses(data, error)


@pytest.mark.parametrize("which", ["png", "dicom"])
def test_a_file_cut_off_anywhere_is_refused(
    which: str, png: Callable[..., bytes], dicom: Callable[..., bytes]
) -> None:
    whole = png() if which == "png" else dicom()
    read_slice(whole)
    for length in range(len(whole)):
        with pytest.raises(SliceRefused):
            read_slice(whole[:length])


@pytest.mark.parametrize("which", ["png", "dicom", "deflated"])
def test_damage_gives_a_slice_or_a_refusal_and_nothing_else(
    which: str, png: Callable[..., bytes], dicom: Callable[..., bytes]
) -> None:
    whole = png() if which == "png" else dicom()
    if which == "deflated":
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = whole[132 + 28 :]
        whole = dicom(syntax=DEFLATED, body=packer.compress(body) + packer.flush())
    rng = np.random.default_rng(3)
    for _ in range(600):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        try:
            pixels = read_slice(bytes(damaged)).pixels
        except SliceRefused:
            continue
        assert pixels.ndim == 2
        assert 0.0 <= pixels.min() <= pixels.max() <= 1.0


def test_hounsfield_units_come_from_slope_and_intercept_and_the_window_is_fixed(
    dicom: Callable[..., bytes], stored: NDArray[np.int16]
) -> None:
    data = dicom(values={"RescaleSlope": "2 ", "RescaleIntercept": "-1500 "})
    hounsfield = stored.astype(np.float32) * 2 - 1500
    read = read_slice(data)
    assert read.format == "dicom"
    assert np.array_equal(read.pixels, np.clip((hounsfield + 160) / 400, 0, 1))


def test_monochrome1_is_another_way_to_show_the_same_values(dicom: Callable[..., bytes]) -> None:
    shown = dicom(values={"PhotometricInterpretation": "MONOCHROME1 "})
    assert np.array_equal(read_slice(shown).pixels, read_slice(dicom()).pixels)


def test_the_window_ends_at_its_edges() -> None:
    values = windowed(np.array([[-3000, -160, 40, 240, 3000]], dtype=np.float32))
    assert values.tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "image_dfl.dcm"],
)
def test_files_of_real_devices_are_read_as_pydicom_reads_them(name: str) -> None:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    expected = dcmread(path)
    values = apply_rescale(expected.pixel_array, expected).astype(np.float32)
    assert np.array_equal(read_dicom(Path(path).read_bytes(), Limits()), values)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_is_read_in_the_share_of_its_largest_value(
    png: Callable[..., bytes], depth: int
) -> None:
    row = np.arange(8) * (2**depth - 1) // 7
    raw = b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes()
    read = read_slice(png(depth=depth, packed=zlib.compress(raw * 8)))
    assert read.format == "png"
    assert np.allclose(read.pixels, row / (2**depth - 1), atol=1e-6)


def test_a_colour_png_is_read_as_grey(png: Callable[..., bytes]) -> None:
    raw = b"\0" + bytes([90, 90, 90]) * 8
    read = read_slice(png(colour=2, packed=zlib.compress(raw * 8)))
    assert np.allclose(read.pixels, 90 / 255, atol=1 / 255)


def test_a_slice_of_the_largest_size_is_read(dicom: Callable[..., bytes]) -> None:
    data = dicom(values={"Rows": 2048, "Columns": 2048}, pixels=bytes(2 * 2048 * 2048))
    assert read_slice(data).pixels.shape == (2048, 2048)


@pytest.mark.parametrize("shape", [(128, 128), (100, 60), (30, 90), (1, 1)])
def test_resizing_keeps_level_and_direction(shape: tuple[int, int]) -> None:
    flat = resized(np.full(shape, 0.25, dtype=np.float32), 64)
    assert flat.shape == (64, 64)
    assert flat.dtype == np.float32
    assert np.allclose(flat, 0.25, atol=1e-6)
    ramp = np.tile(np.linspace(0, 1, shape[1], dtype=np.float32), (shape[0], 1))
    assert np.all(np.diff(resized(ramp, 64), axis=1) >= -1e-6)


def test_what_has_the_size_already_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(1).random((64, 64), dtype=np.float32)
    assert resized(pixels, 64) is pixels
