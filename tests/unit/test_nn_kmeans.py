import tracemalloc

import numpy as np
import pytest

from edgecodec.nn.kmeans import kmeans, nearest, residual_kmeans


def test_finds_separated_clusters():
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = np.concatenate([centre + 0.1 * rng.standard_normal((50, 2)) for centre in centres])
    codes = kmeans(points, 3, np.random.default_rng(0))
    distance = np.linalg.norm(codes[:, None] - centres, axis=2)
    assert (distance.min(axis=0) < 0.1).all()


def test_nearest_breaks_ties_downwards():
    index, distance = nearest(np.array([[1.0], [5.0]]), np.array([[0.0], [2.0]]))
    assert index.tolist() == [0, 1]
    assert distance.tolist() == [1.0, 9.0]


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 20])
def test_nearest_in_parts_is_nearest_at_once(count, monkeypatch):
    rng = np.random.default_rng(2)
    points, codes = rng.standard_normal((count, 3)), rng.standard_normal((5, 3))
    monkeypatch.setattr("edgecodec.nn.kmeans._PART", 7)
    index, distance = nearest(points, codes)
    every = ((points[:, None] - codes) ** 2).sum(axis=2)
    assert np.array_equal(index, every.argmin(axis=1))
    assert distance == pytest.approx(every.min(axis=1))


def test_nearest_of_a_training_set_takes_megabytes():
    points, codes = np.zeros((200_000, 4)), np.ones((256, 4))
    tracemalloc.start()
    nearest(points, codes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All distances at once would be 200,000 x 256 x 8 bytes = 410 MB.
    assert peak < 150e6


def test_fewer_points_than_codes():
    codes = kmeans(np.array([[1.0], [2.0]]), 4, np.random.default_rng(0))
    assert codes.shape == (4, 1)
    assert set(codes.ravel()) == {1.0, 2.0}


def test_levels_code_what_is_left():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((400, 4))
    books = residual_kmeans(points, [16, 8], seed=0)
    assert [book.shape for book in books] == [(16, 4), (8, 4)]
    residual, errors = points, [np.mean(points**2)]
    for book in books:
        residual = residual - book[nearest(residual, book)[0]]
        errors.append(np.mean(residual**2))
    assert errors[2] < errors[1] < errors[0]
    again = residual_kmeans(points, [16, 8], seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(books, again, strict=True))
