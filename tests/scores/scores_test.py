"""Every score against golden values, slow plain versions, its properties, and what trips others."""

import functools
import json
import pathlib

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedKFold

from advknow import scores
from advknow.scores import pairs_of_examples

GOLDEN = pathlib.Path(__file__).parents[3] / "shared" / "golden" / "scores.json"


@functools.cache
def _data(name):
    """Features, labels and probabilities of a source, as the golden values are of."""
    if name == "iris":
        features, labels = load_iris(return_X_y=True)
        return features, labels, scipy.special.softmax(features, axis=1)
    features, labels = load_digits(return_X_y=True)
    features = features / 16
    rows = slice(None, 40 if name == "digits40" else None)
    theta = scipy.special.softmax(4 * features[:, 20:30], axis=1)
    return features[rows], labels[rows], theta[rows]


OF_FEATURES = scores.OF_FEATURES
# The golden values of these need a word of their own, below.
APART = ("logme", "parc", "knn", "n_leep", "linear_probe")


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden values are not beside the repository")
@pytest.mark.parametrize("name", ["iris", "digits", "digits40"])
class TestGolden:
    def golden(self, name):
        return json.loads(GOLDEN.read_text())[name]

    @pytest.mark.parametrize("score", [s for s in OF_FEATURES if s not in APART])
    def test_of_features(self, name, score):
        features, labels, _ = _data(name)
        found = OF_FEATURES[score](features, labels)
        np.testing.assert_allclose(found, self.golden(name)[score], rtol=1e-6)

    def test_of_predictions(self, name):
        _, labels, theta = _data(name)
        golden = self.golden(name)
        np.testing.assert_allclose(scores.leep(theta, labels), golden["leep"], rtol=1e-6)
        found = scores.nce(theta.argmax(axis=1), labels)
        np.testing.assert_allclose(found, golden["nce"], rtol=1e-6)

    def test_nearest_neighbours(self, name):
        features, labels, _ = _data(name)
        found = [scores.knn(features, labels, k=k) for k in (1, 3, 5)]
        np.testing.assert_allclose(found, self.golden(name)["knn_loo"], rtol=1e-12)

    def test_logme(self, name):
        """A maximum: at least the golden one, whose iteration ends at a change of 1e-3."""
        features, labels, _ = _data(name)
        found, golden = scores.logme(features, labels), self.golden(name)["logme"]
        assert golden - 1e-12 <= found <= golden + 1e-6

    def test_parc(self, name):
        """The golden values rank the rounding of the labels' correlations; see the docstring."""
        features, labels, _ = _data(name)
        deviation = features.std(axis=0)
        standard = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
        pairs = np.triu_indices(len(labels), 1)
        of_features = 1 - np.corrcoef(standard)[pairs]
        of_labels = 1 - np.corrcoef(np.eye(labels.max() + 1)[labels])[pairs]
        noisy = 100 * scipy.stats.spearmanr(of_features, of_labels)[0]
        np.testing.assert_allclose(noisy, self.golden(name)["parc_no_pca"], rtol=1e-3)
        tied = 100 * scipy.stats.spearmanr(of_features, of_labels.round(9))[0]
        # The features' own ties are rounding too.
        np.testing.assert_allclose(scores.parc(features, labels), tied, rtol=1e-5)


def _random(n=60, d=7, classes=3, seed=0, signal=0.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    return rng.normal(size=(n, d)) + signal * np.eye(max(classes, d))[labels, :d], labels


@pytest.mark.parametrize("score", OF_FEATURES)
def test_more_signal_scores_higher(score):
    found = [OF_FEATURES[score](*_random(signal=signal)) for signal in (0.0, 2.0, 8.0)]
    assert found[0] < found[2]
    assert found[0] < found[1] or score in ("gbc_diagonal", "gbc_spherical", "n_leep")


@pytest.mark.parametrize("score", OF_FEATURES)
@pytest.mark.parametrize("change", ["order", "names of classes", "float32", "inputs stay"])
def test_what_no_score_depends_on(score, change):
    features, labels = _random(signal=2.0)
    features = features.astype(np.float32)
    call, expected = OF_FEATURES[score], None
    if change == "order":
        if score in ("n_leep", "linear_probe"):
            pytest.skip("their start and folds are drawn by place")
        order = np.random.default_rng(1).permutation(len(labels))
        expected, found = call(features, labels), call(features[order], labels[order])
    elif change == "names of classes":
        # A label that does not occur, and a negative one: the classes are those that do.
        expected, found = call(features, labels), call(features, 3 * labels - 1)
    elif change == "float32":
        expected, found = call(features.astype(np.float64), labels), call(features, labels)
    else:
        before = features.copy(), labels.copy()
        call(features, labels)
        np.testing.assert_array_equal(features, before[0])
        np.testing.assert_array_equal(labels, before[1])
        return
    np.testing.assert_allclose(found, expected, rtol=1e-9)


ROTATION = ("logme", "h_score", "h_score_shrunk", "transrate_equal", "sfda", "lfc", "knn")
SCALE = ("h_score", "h_score_shrunk", "parc", "lfc", "knn", "linear_probe", "n_leep")


@pytest.mark.parametrize("score", ROTATION)
def test_rotation_of_the_features(score):
    features, labels = _random(signal=2.0)
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))
    if score == "sfda":
        # Its shrinkage is estimated by steps of a power iteration from the sum of the axes.
        features = features * 5
    found = OF_FEATURES[score](features @ rotation, labels)
    np.testing.assert_allclose(found, OF_FEATURES[score](features, labels), rtol=1e-8)


@pytest.mark.parametrize("score", SCALE)
def test_scale_of_the_features(score):
    features, labels = _random(signal=2.0)
    found = OF_FEATURES[score](2.0**10 * features, labels)
    np.testing.assert_allclose(found, OF_FEATURES[score](features, labels), rtol=1e-9)


@pytest.mark.parametrize("shape", [(30, 4), (30, 29), (30, 80), (12, 12)])
@pytest.mark.parametrize("seed", [0, 1])
def test_logme_is_the_maximum_of_the_evidence(shape, seed):
    features, labels = _random(*shape, seed=seed, signal=1.0)
    n, total = len(labels), 0.0
    for c in range(3):
        y = (labels == c).astype(float)

        def negative(logs, y=y):
            alpha, beta = np.exp(np.clip(logs, -40, 40))
            covariance = np.eye(n) / beta + features @ features.T / alpha
            _, log_determinant = np.linalg.slogdet(covariance)
            square = y @ np.linalg.solve(covariance, y)
            return 0.5 * (n * np.log(2 * np.pi) + log_determinant + square)

        starts = [(a, b) for a in (-2.0, 3.0) for b in (0.0, 4.0)]
        tries = (scipy.optimize.minimize(negative, s, method="Nelder-Mead",
                 options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}) for s in starts)  # fmt: skip
        total -= min(found.fun for found in tries) / n / 3
    found = scores.logme(features, labels)
    # A maximum at alpha or beta -> infinity is approached only.
    np.testing.assert_allclose(found, total, atol=2e-5)


def test_leep_of_perfect_and_of_random_predictions():
    labels = np.arange(60) % 4
    assert scores.leep(np.eye(4)[labels], labels) == 0.0
    uniform = np.full((60, 5), 0.2)
    np.testing.assert_allclose(scores.leep(uniform, labels), -np.log(4))
    assert scores.nce(labels, labels) == 0.0
    np.testing.assert_allclose(scores.nce(np.zeros(60, int), labels), -np.log(4))


def test_leep_without_mass_for_a_source_class():
    labels = np.arange(12) % 3
    theta = np.zeros((12, 6))
    theta[:, :2] = 0.5
    found = scores.leep(theta, labels)
    np.testing.assert_allclose(found, scores.leep(theta[:, :2], labels))
    assert np.isfinite(found)


def test_h_score_by_its_definition_and_its_range():
    features, labels = _random(200, 5, signal=1.0)
    means = np.array([features[labels == c].mean(axis=0) for c in range(3)])[labels]
    covariance = np.cov(features, rowvar=False)
    expected = np.trace(np.linalg.pinv(covariance) @ np.cov(means, rowvar=False))
    np.testing.assert_allclose(scores.h_score(features, labels), expected, rtol=1e-10)
    noise, labels = _random(20_000, 5)
    assert scores.h_score(noise, labels) < 0.01
    np.testing.assert_allclose(scores.h_score(*_random(20, 50)), 2.0, rtol=1e-9)


def test_shrunk_h_score_by_scikit_learns_ledoit_wolf():
    from sklearn.covariance import LedoitWolf

    for shape in ((80, 5), (30, 60)):
        features, labels = _random(*shape, signal=1.0)
        means = np.array([features[labels == c].mean(axis=0) for c in range(3)])[labels]
        fitted = LedoitWolf().fit(features)
        between = (1 - fitted.shrinkage_) * np.cov(means, rowvar=False)
        expected = np.trace(np.linalg.pinv(fitted.covariance_) @ between)
        np.testing.assert_allclose(scores.h_score_shrunk(features, labels), expected, rtol=1e-9)


def test_nearest_neighbours_one_by_one():
    features, labels = _random(50, 4, signal=1.0)
    distances = ((features[:, None] - features) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, np.inf)
    for k in (1, 2, 7, 49):
        right = 0
        for i in range(50):
            votes = np.bincount(labels[np.argsort(distances[i])[:k]], minlength=3)
            right += votes.argmax() == labels[i]
        assert scores.knn(features, labels, k=k) == right / 50


def test_label_feature_correlation_by_its_matrices():
    features, labels = _random(40, 60, signal=1.0)
    for d in (60, 5):
        gram = features[:, :d] @ features[:, :d].T
        same = np.where(labels[:, None] == labels, 1.0, -1.0)
        gram, same = gram - gram.mean(), same - same.mean()
        expected = (gram * same).sum() / np.linalg.norm(gram) / np.linalg.norm(same)
        np.testing.assert_allclose(scores.lfc(features[:, :d], labels), expected, rtol=1e-10)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical"])
def test_bhattacharyya_coefficient_of_two_gaussians(covariance):
    """Against the integral of sqrt(p q), one dimension at a time."""
    features, labels = _random(40, 2, classes=2, signal=1.0)
    per_class = [features[labels == c] for c in (0, 1)]
    variances = [f.var(axis=0) for f in per_class]
    if covariance == "spherical":
        variances = [np.full(2, v.mean()) for v in variances]
    product = 1.0
    for i in range(2):
        laws = [
            scipy.stats.norm(f[:, i].mean(), v[i] ** 0.5)
            for f, v in zip(per_class, variances, strict=True)
        ]
        product *= scipy.integrate.quad(
            lambda x, laws=laws: np.sqrt(laws[0].pdf(x) * laws[1].pdf(x)), -12, 12
        )[0]
    found = scores.gbc(features, labels, covariance=covariance)
    np.testing.assert_allclose(found, -2 * product, rtol=1e-7)


def test_alike_to_a_reference_model():
    features, _ = _random(50, 6)
    other = np.random.default_rng(3).normal(size=(50, 9))
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))
    np.testing.assert_allclose(scores.cka(features, 3 * features @ rotation + 1), 1.0)
    gram_f, gram_g = (a @ a.T for a in (features - features.mean(0), other - other.mean(0)))
    expected = (gram_f * gram_g).sum() / np.linalg.norm(gram_f) / np.linalg.norm(gram_g)
    np.testing.assert_allclose(scores.cka(features, other), expected, rtol=1e-10)
    np.testing.assert_allclose(
        scores.cka(features[:5], other[:5]), scores.cka(other[:5], features[:5])
    )
    pairs = np.triu_indices(50, 1)
    both = [1 - np.corrcoef(a)[pairs] for a in (features, other)]
    np.testing.assert_allclose(
        scores.rsa(features, other), scipy.stats.spearmanr(*both)[0], rtol=1e-9
    )
    np.testing.assert_allclose(scores.rsa(features, features), 1.0)


_RNG = np.random.default_rng(0)
RANKED = {
    "no ties": [3.0, 1.0, 2.0],
    "ties": [1.0, 1.0, 2.0, 0.0, 2.0, 2.0],
    "all equal": [5.0] * 4,
    "two": [2.0, 1.0],
    "signs of zero": [0.0, -0.0, 1.0, -1e-320],
    "many ties": _RNG.integers(0, 7, size=3000).astype(float),
    # Closer than a step of the grid: their order has to be found without it.
    "neighbours in float64": 1 + _RNG.integers(0, 9, size=500) * 2.0**-52,
    "close beside a wide range": np.append(_RNG.normal(size=900) * 1e-15, 5.0),
    "close ties beside a wide range": np.append(_RNG.integers(0, 5, size=900) * 1e-17, 5.0),
}


@pytest.mark.parametrize("values", RANKED.values(), ids=RANKED)
@pytest.mark.parametrize("at_once", [2**17, 3])
def test_ranks_are_scipys(values, at_once, monkeypatch):
    monkeypatch.setattr(pairs_of_examples, "VALUES_AT_ONCE", at_once)
    found = pairs_of_examples.centred_ranks(np.array(values))
    ranks = scipy.stats.rankdata(values)
    np.testing.assert_array_equal(found, ranks - ranks.mean())


F, Y = _random()
CONSTANT = np.ones((60, 7))
UNDEFINED = {
    "one example": (lambda s: s(F[:1], Y[:1]), "1 examples; at least 2"),
    "one class": (lambda s: s(F, 0 * Y), "has 1 class; at least 2"),
    "NaN": (lambda s: s(np.where(F > 2, np.nan, F), Y), "NaN or infinity in"),
    "other numbers": (lambda s: s(F[:-1], Y), "features has 59 examples, labels 60"),
    "labels of two axes": (lambda s: s(F, np.eye(3)[Y].astype(int)), r"labels has shape \(60, 3\)"),
    "images": (lambda s: s(F[:, :, None], Y), r"features has shape \(60, 7, 1\)"),
    "no features": (lambda s: s(F[:, :0], Y), r"features has shape \(60, 0\)"),
}


@pytest.mark.parametrize("score", OF_FEATURES)
@pytest.mark.parametrize("case", UNDEFINED)
def test_what_is_undefined_says_why(score, case):
    call, message = UNDEFINED[case]
    with pytest.raises(ValueError, match=message):
        call(OF_FEATURES[score])


@pytest.mark.parametrize("score", OF_FEATURES)
def test_labels_that_are_no_integers(score):
    with pytest.raises(TypeError, match="labels has dtype float64; integers"):
        OF_FEATURES[score](F, Y.astype(float))
    with pytest.raises(TypeError, match="features has dtype <U"):
        OF_FEATURES[score](F.astype(str), Y)


@pytest.mark.parametrize("score", OF_FEATURES)
def test_constant_features_are_an_error_or_a_number(score):
    if score in ("h_score", "h_score_shrunk", "sfda", "parc", "lfc", "n_leep"):
        with pytest.raises(ValueError, match=r"same for all|equal products|do not vary"):
            OF_FEATURES[score](CONSTANT, Y)
    else:
        assert np.isfinite(OF_FEATURES[score](CONSTANT, Y))


def _probe_by_scikit_learn(features, labels, seed):
    """A fit of its own for every fold and strength."""
    features = np.asarray(features, np.float64)
    most = min(5, np.bincount(labels).min())
    folds = StratifiedKFold(most, shuffle=True, random_state=seed).split(features, labels)
    right = np.zeros(3)
    for train, test in folds:
        mean = features[train].mean(axis=0)
        scale = np.sqrt(np.mean((features[train] - mean) ** 2)) or 1.0
        for i, strength in enumerate((1e-3, 1e-2, 1e-1)):
            classifier = RidgeClassifier(strength * len(train))
            classifier.fit((features[train] - mean) / scale, labels[train])
            right[i] += (classifier.predict((features[test] - mean) / scale) == labels[test]).sum()
    return right.max() / len(labels)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("shape", [(83, 7), (60, 60), (61, 200), (30, 3)])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_probe_is_that_of_scikit_learn(shape, classes, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(shape[0]) % classes
    features = 100 + 3 * rng.normal(size=shape) + rng.normal(size=(classes, shape[1]))[labels]
    found = scores.linear_probe(features, labels, seed=seed)
    assert found == _probe_by_scikit_learn(features, labels, seed)
    digits, of = load_digits(return_X_y=True)
    if shape == (83, 7):
        found = scores.linear_probe(digits[:500], of[:500], seed=seed)
        assert found == _probe_by_scikit_learn(digits[:500], of[:500], seed)


@pytest.mark.parametrize("score", OF_FEATURES)
def test_one_example_of_a_class(score):
    labels = np.where(np.arange(60) == 5, 3, Y)
    if score == "linear_probe":
        with pytest.raises(ValueError, match="a class has 1 example"):
            OF_FEATURES[score](F, labels)
    else:
        assert np.isfinite(OF_FEATURES[score](F, labels))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scores.leep(np.ones((60, 3)), Y), "rows sum to 1 within 2"),
        (lambda: scores.leep(F, Y), "probabilities go from -"),
        (lambda: scores.nce(Y[:-1], Y), "predictions has 59 examples, labels 60"),
        (lambda: scores.knn(F, Y, k=60), "k=60 must be"),
        (lambda: scores.gbc(F, Y, covariance="full"), "covariance='full' is not known"),
        (lambda: scores.transrate(F, Y, weights="none"), "weights='none' is not known"),
        (lambda: scores.cka(F, CONSTANT), "reference are the same for all"),
        (lambda: scores.cka(F, F[:-1]), "features has 60 examples, reference 59"),
        (lambda: scores.rsa(F[:2], F[:2]), "at least 3 are needed"),
        (lambda: scores.parc(F[:, :1], Y), "equal features in all dimensions"),
        (lambda: scores.parc(F[:3], np.arange(3)), "no two examples share a class"),
    ],
)
def test_settings_and_arrays_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
