import itertools
import subprocess
import sys

import numpy as np
import pytest

from edgecodec.decoding import RvqConfig, RvqEncoder, RvqTokens
from edgecodec.errors import InputError

COARSE = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
FINE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0]])


@pytest.fixture
def encoder():
    return RvqEncoder.from_codebooks([COARSE, FINE])


def test_by_hand(encoder):
    # (5, 0.5): nearest (4, 0), left (1, 0.5); nearest (1, 0), left (0, 0.5), squared 0.25.
    # (0, 3): nearest (0, 4), left (0, -1); nearest (0, -1), left 0.
    tokens = encoder.encode([[5.0, 0.5], [0.0, 3.0]])
    assert tokens.indices.tolist() == [[1, 1], [2, 2]]
    assert tokens.indices.dtype == np.uint16
    assert tokens.total_error.tolist() == [0.25, 0.0]
    assert encoder.decode(tokens).tolist() == [[5.0, 0.0], [0.0, 3.0]]
    assert encoder.decode([[0, 2]]).tolist() == [[0.0, -1.0]]
    assert encoder.reconstruct([[5.0, 0.5]]).tolist() == [[5.0, 0.0]]
    assert encoder.reconstruction_error([[5.0, 0.5], [0.0, 3.0]]).tolist() == [0.25, 0.0]


def test_shapes(encoder):
    one = encoder.encode([5.0, 0.5])
    assert (one.indices.shape, one.total_error.shape) == ((2,), ())
    assert encoder.decode(one).shape == (2,)
    many = encoder.encode(np.zeros((3, 4, 2), np.float32))
    assert (many.indices.shape, many.total_error.shape) == ((3, 4, 2), (3, 4))
    assert encoder.decode(many).shape == (3, 4, 2)
    assert encoder.encode(np.zeros((0, 2))).indices.shape == (0, 2)
    assert encoder.decode(np.zeros((0, 2), np.uint16)).shape == (0, 2)


def test_ties_go_to_the_lowest_index(encoder):
    # (2, 0) is 2 from (0, 0) and from (4, 0); (2, 2) is as far from all three.
    assert encoder.encode([[2.0, 0.0], [2.0, 2.0]]).indices[:, 0].tolist() == [0, 0]
    # The same code twice; ||c||^2 - 2 r.c in float32 would tell them apart or not by chance.
    twins = RvqEncoder.from_codebooks([np.float32([[9.0, 9.0], [0.1, 0.7], [0.1, 0.7]])])
    vectors = np.random.default_rng(0).normal([0.1, 0.7], 1e-3, (1000, 2))
    assert not np.any(twins.encode(vectors).indices == 2)


def test_far_from_the_origin():
    # The squares of 1e8 leave no room in float64 for a difference of 1e-2; differences keep it.
    book = np.array([[1e8], [1e8 + 1e-2]])
    assert RvqEncoder.from_codebooks([book]).encode([[1e8 + 0.8e-2]]).indices.tolist() == [[1]]


def test_types():
    single = RvqEncoder.from_codebooks([COARSE.astype(np.float32), FINE.astype(np.float32)])
    assert single.decode([[1, 1]]).dtype == np.float32
    assert RvqEncoder.from_codebooks(np.zeros((2, 3, 4), np.int8)).codebooks[0].dtype == np.float64
    mixed = RvqEncoder.from_codebooks([COARSE.astype(np.float32), FINE])
    assert mixed.decode([[1, 1]]).dtype == np.float64
    # 0.1 in float32 is not 0.1: the error is of the vector given, not of its float32.
    tenth = RvqEncoder.from_codebooks([np.float32([[0.1]])])
    assert tenth.encode([[0.1]]).total_error[0] == (0.1 - float(np.float32(0.1))) ** 2


def test_large_batches_in_parts():
    encoder = RvqEncoder.new()
    vectors = np.random.default_rng(1).uniform(-1, 1, (3000, 6))
    indices = encoder.encode(vectors).indices
    assert np.array_equal(indices[1234], encoder.encode(vectors[1234]).indices)
    distances = ((vectors[:, None] - encoder.codebooks[0].astype(np.float64)) ** 2).sum(axis=2)
    assert np.array_equal(indices[:, 0], distances.argmin(axis=1))


def test_codebooks_are_copies(encoder):
    given = [COARSE.copy(), FINE.copy()]
    made = RvqEncoder.from_codebooks(given)
    given[0][:] = 7.0
    assert np.array_equal(made.codebooks[0], COARSE)
    with pytest.raises(ValueError, match="read-only"):
        made.codebooks[0][0] = 1.0


def test_defaults_and_vocabulary(encoder):
    config = RvqConfig()
    assert (config.num_stages, config.dimension, config.codebook_size) == (4, 6, 256)
    assert RvqEncoder.new().total_vocabulary == 2**32
    assert encoder.total_vocabulary == 9
    assert encoder.config == RvqConfig(2, 2, 3)
    # Beyond int64, and with numpy's integers.
    huge = RvqEncoder.new(RvqConfig(np.int64(9), np.int64(1), np.int64(256))).total_vocabulary
    assert huge == 2**72
    assert type(huge) is int


def test_start_by_hand():
    # frac(sqrt 2) = 0.41421356, frac(sqrt 3) = 0.73205081; n = 1, 2 of stage 0 and n = 4, 5 of stage 1.
    books = RvqEncoder.new(RvqConfig(2, 2, 3)).codebooks
    first = [[0, 0], [2 * 0.41421356 - 1, 2 * 0.73205081 - 1], [2 * 0.82842712 - 1, 2 * 0.46410162 - 1]]
    second = [[0, 0], [0.65685425 - 0.5, 0.92820323 - 0.5], [0.07106781 - 0.5, 0.66025404 - 0.5]]
    assert books[0] == pytest.approx(np.array(first), abs=1e-6)
    assert books[1] == pytest.approx(np.array(second), abs=1e-6)


def test_start_is_deterministic_and_useful():
    one, other = RvqEncoder.new(), RvqEncoder.new()
    assert all(np.array_equal(a, b) for a, b in zip(one.codebooks, other.codebooks, strict=True))
    assert all(len(np.unique(book, axis=0)) == 256 for book in one.codebooks)
    vectors = np.random.default_rng(2).uniform(-1, 1, (500, 6))
    errors = [RvqEncoder.new(RvqConfig(num_stages=m)).encode(vectors).total_error for m in (1, 2, 3, 4)]
    assert all(np.all(b <= a) for a, b in itertools.pairwise(errors)), "a stage never adds error"
    assert errors[3].mean() < 0.2 * (vectors**2).sum(axis=1).mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_stages": 0}, "num_stages is 0; expected a whole number of at least 1"),
        ({"dimension": -1}, "dimension is -1"),
        ({"codebook_size": 65537}, r"codebook_size is 65537; expected a whole number in 1\.\.65536"),
        ({"dimension": 2.0}, r"dimension is 2\.0"),
        ({"num_stages": True}, "num_stages is True"),
        ({"num_stages": "4"}, "num_stages is '4'"),
        ({"num_stages": 2, "codebook_size": [4]}, "codebook_size has 1 entries; expected one for each of 2"),
        ({"num_stages": 2, "codebook_size": [4, 0]}, "codebook_size of stage 1 is 0"),
    ],
)
def test_bad_config(arguments, message):
    with pytest.raises(InputError, match=message):
        RvqConfig(**arguments)


@pytest.mark.parametrize(
    ("codebooks", "message"),
    [
        ([], "no codebooks"),
        ([np.zeros(3)], r"codebook 0 has shape \(3,\); expected \[K, D\]"),
        ([np.zeros((0, 2))], r"shape \(0, 2\)"),
        ([np.zeros((3, 2)), np.zeros((3, 3))], r"codebook 1 has shape \(3, 3\); codebook 0 has \(3, 2\)"),
        ([[[0.0, np.nan]]], "codebook 0 holds NaN"),
        ([[[0.0, 1.0]], [[-1e300, 0.0]]], r"codebook 1 holds -1e\+300; expected values up to 1e\+150"),
        ([[["a"]]], "codebook 0 is <U1"),
        ([[[1.0, 2.0], [3.0]]], "ragged"),
    ],
)
def test_bad_codebooks(codebooks, message):
    with pytest.raises(InputError, match=message):
        RvqEncoder.from_codebooks(codebooks)


def test_codebooks_must_be_those_of_the_configuration():
    with pytest.raises(InputError, match=r"shapes \[\(3, 2\)\]; the configuration says \[\(3, 2\), \(3, 2\)\]"):
        RvqEncoder(RvqConfig(2, 2, 3), [COARSE])
    with pytest.raises(InputError, match=r"says \[\(256, 6\), .*\]"):
        RvqEncoder(RvqConfig(), [COARSE, FINE])
    with pytest.raises(InputError, match="codebook 1 holds NaN"):
        RvqEncoder(RvqConfig(2, 2, 3), [COARSE, np.full((3, 2), np.nan)])


def test_a_size_for_each_stage():
    encoder = RvqEncoder.from_codebooks([COARSE, FINE[:2]])
    assert encoder.config == RvqConfig(2, 2, (3, 2)) == RvqConfig(2, 2, [3, 2])
    assert encoder.total_vocabulary == 6
    # (0, 3): nearest (0, 4), left (0, -1); of (0, 0) and (1, 0) the first is nearer, squared 1.
    assert encoder.encode([[0.0, 3.0]]) == RvqTokens(np.array([[2, 0]], np.uint16), np.array([1.0]))
    with pytest.raises(InputError, match=r"index 2 is outside the codebook; expected 0\.\.1 at stage 1"):
        encoder.decode([[2, 2]])
    started = RvqEncoder.new(RvqConfig(2, 2, [3, 4]))
    assert [book.shape for book in started.codebooks] == [(3, 2), (4, 2)]
    # Stage 1 goes on in the sequence where stage 0 ended, as with equal sizes.
    assert np.array_equal(started.codebooks[1][:3], RvqEncoder.new(RvqConfig(2, 2, 3)).codebooks[1])


def test_tokens_compare_by_value(encoder):
    one, same, other = (encoder.encode(vectors) for vectors in ([[5.0, 0.5]], [[5.0, 0.5]], [[0.0, 3.0]]))
    assert one == same
    assert one != other
    assert one != encoder.encode([5.0, 0.5])
    assert one != one.indices.tolist()
    # The same codes with another error are of another vector.
    assert one != RvqTokens(one.indices, one.total_error + 1)


def test_large_values_are_coded():
    encoder = RvqEncoder.from_codebooks([[[0.0], [1e140]]])
    assert encoder.encode([[0.9e140]]).indices.tolist() == [[1]]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); expected \[\.\.\., 2\]"),
        (1.0, r"shape \(\)"),
        ([[0.0, np.inf]], "NaN or infinity"),
        ([["a", "b"]], "real numbers"),
        ([[1j, 0]], "complex128"),
        ([[True, False]], "bool"),
        ([[1.0, 2.0], [3.0]], "ragged"),
        ([[0.0, 1e300]], r"vectors hold 1e\+300; expected values up to 1e\+150"),
    ],
)
def test_bad_vectors(encoder, vectors, message):
    with pytest.raises(InputError, match=message):
        encoder.encode(vectors)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([[0]], r"\(1, 1\); expected whole numbers \[\.\.\., 2\]"),
        ([[0.0, 1.0]], "float64"),
        ([[0, 3]], r"index 3 is outside the codebook; expected 0\.\.2"),
        ([[-1, 0]], "index -1"),
        (RvqTokens(np.array([[9, 9]], np.uint16), np.zeros(1)), "index 9"),
    ],
)
def test_bad_indices(encoder, indices, message):
    with pytest.raises(InputError, match=message):
        encoder.decode(indices)


def test_needs_numpy_only():
    code = (
        "import sys; from edgecodec.decoding import RvqEncoder; RvqEncoder.new().encode([0.1] * 6)\n"
        "heavy = {'tensorflow', 'keras', 'scipy', 'ai_edge_litert', 'pydantic', 'cffi'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_lazy_names():
    import edgecodec.decoding

    assert set(dir(edgecodec.decoding)) >= {"RvqConfig", "RvqEncoder", "RvqTokens"}
    with pytest.raises(AttributeError, match="nonsense"):
        _ = edgecodec.decoding.nonsense
