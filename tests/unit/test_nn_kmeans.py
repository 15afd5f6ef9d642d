import numpy as np

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
