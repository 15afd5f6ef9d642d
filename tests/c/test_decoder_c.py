"""The decoder for phones: generated, compiled as a phone's project would, and compared with LiteRT."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.bundle import Bundle
from edgecodec.compile.decoder_library import write_decoder
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.entropy.unpacking import ReferenceUnpacker
from edgecodec.errors import BundleError, InputError
from edgecodec.host.streams import packets_of
from tests.cli.run import assert_one_error, edgecodec
from tests.float_decoders import decoder_bundle, indices_of, preset_decoder, statistics
from tests.linear_codec import pulse_frames
from tests.streams import packets_for, stream_bundle
from tests.tools import require

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-Wno-psabi")
MAIN = Path(__file__).parent / "decoder_main.c"


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return stream_bundle(tmp_path_factory.mktemp("stream"))


def _compiled(folder: Path, *command: str) -> Path:
    sources = [str(path) for path in folder.glob("*.c")]
    program = folder / "decoder"
    words = [*command, *STRICT, f"-I{folder}", *sources, str(MAIN), "-lm", "-o", str(program)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return program


def _run(program: Path, packets: list[bytes], samples: int) -> npt.NDArray[np.float32]:
    given = b"".join(len(packet).to_bytes(2, "little") + packet for packet in packets)
    done = subprocess.run([str(program)], input=given, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, samples)


def _expected(bundle: Bundle, packets: list[bytes]) -> npt.NDArray[np.float32]:
    return FrameDecoder(bundle).decode_unpacked(ReferenceUnpacker(packets_of(bundle)).unpack(packets))


@pytest.mark.parametrize(
    "command",
    [
        ("gcc", "-std=c99", "-O2", "-DEDC_DECODE_LANES=1"),
        ("clang", "-std=c99", "-O3", "-ffp-contract=fast", "-DEDC_DECODE_LANES=1"),
        ("gcc", "-std=c11", "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"),
        ("clang", "-std=c99", "-O2", "-DEDC_DECODE_LANES=4"),
    ],
    ids=lambda command: "".join(command).replace("=", ""),
)
def test_stream_with_tables(linear: Bundle, tmp_path: Path, command: tuple[str, ...]) -> None:
    require(command[0])
    frames = pulse_frames(40, seed=4)
    frames[3] = 777
    packets = packets_for(linear, frames)
    packets[9] = packets[9][:-1] + bytes([packets[9][-1] ^ 1])
    write_decoder(linear, tmp_path / "c")
    counts = _run(_compiled(tmp_path / "c", *command), packets, frames.shape[1])
    expected = _expected(linear, packets[:9] + packets[10:])
    assert counts.shape == expected.shape
    assert np.abs(counts - expected).max() < 0.01
    assert (counts[3] == 777).all()


def test_recommended_preset(tmp_path: Path) -> None:
    """The 8x decoder, with a frame's packet a time: 1e-4 of the signal, and a count."""
    require("cc", "module:tensorflow")
    model, samples = preset_decoder("08x_ds8_l2")
    bundle = decoder_bundle(tmp_path / "bundle", model, samples, packets=True)
    sides = zip(*(each.tolist() for each in statistics(20, samples)), strict=True)
    packets = [
        packets_of(bundle).encode(indices, *side, number)
        for number, (indices, side) in enumerate(zip(indices_of(bundle, 20), sides, strict=True))
    ]
    done = edgecodec("generate", bundle.path, "--decoder", "-o", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    program = _compiled(tmp_path / "c", "cc", "-std=c99", "-O3", "-ffp-contract=fast", "-DEDC_DECODE_LANES=1")
    counts, expected = _run(program, packets, samples), _expected(bundle, packets)
    assert np.abs(counts - expected).max() < 1
    deviation = np.abs(expected - expected.mean(axis=1, keepdims=True)).max(axis=1, keepdims=True)
    assert (np.abs(counts - expected) <= 1e-4 * deviation + 1e-3).all()


def test_header_is_cpp_as_well(linear: Bundle, tmp_path: Path) -> None:
    require("g++")
    write_decoder(linear, tmp_path / "c", prefix="pulse")
    (tmp_path / "main.cpp").write_text(
        '#include "pulse_decoder.h"\nint main() { return pulse_decoder.samples != 64; }\n'
    )
    words = [
        "g++",
        "-std=c++11",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{tmp_path / 'c'}",
        "-c",
        str(tmp_path / "main.cpp"),
    ]
    subprocess.run([*words, "-o", str(tmp_path / "main.o")], check=True)


def test_same_bytes_and_files(linear: Bundle, bundle: Bundle, tmp_path: Path) -> None:
    first = write_decoder(linear, tmp_path / "a")
    again = write_decoder(linear, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert [path.name for path in first] == [
        "LICENSE",
        "README.md",
        "edc_decode.c",
        "edc_decode.h",
        "edc_unpack.c",
        "edc_unpack.h",
        "edgecodec.txt",
        "ppg_decoder.c",
        "ppg_decoder.h",
    ]
    with pytest.raises(BundleError, match=r"no decoder\.tflite"):
        write_decoder(bundle, tmp_path / "c")
    with pytest.raises(InputError, match="prefix 'Ppg'"):
        write_decoder(linear, tmp_path / "c", prefix="Ppg")
    done = edgecodec("generate", linear.path, "--decoder", "--core", "cortex-m4", "-o", tmp_path / "c")
    assert_one_error(done, "--decoder is for a phone")
    assert not (tmp_path / "c").exists()
