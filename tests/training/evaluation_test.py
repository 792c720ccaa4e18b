import jax
import numpy as np
import pytest
from blobs import blobs, random_variables

from advknow import models
from advknow.training import evaluation


@pytest.fixture(scope="module")
def resnet():
    model = models.create("resnet18", num_classes=3, input_shape=(8, 8, 1), width=0.05)
    return model, random_variables(model)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_ragged_batches_equal_one_batch(resnet, batch_size):
    model, variables = resnet
    dataset = blobs(23)
    x = dataset.images.astype(np.float32) / 255
    expected = np.asarray(model.apply(variables, x))
    logits = evaluation.predict(model, variables, dataset, batch_size=batch_size)
    assert logits.shape == (23, 3)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    features = evaluation.extract_features(model, variables, dataset, batch_size=batch_size)
    np.testing.assert_allclose(features, model.features(variables, x), rtol=1e-5, atol=1e-5)
    result = evaluation.evaluate(model, variables, dataset, batch_size=batch_size)
    np.testing.assert_array_equal(result.correct, expected.argmax(axis=1) == dataset.labels)
    assert result.n == 23
    assert result.accuracy == pytest.approx(result.correct.mean())
    assert 0 < result.accuracy < 1


def test_one_program_for_every_length_and_head(resnet):
    model, variables = resnet
    evaluation.predict(model, variables, blobs(10), batch_size=16)
    compiled = evaluation._features._cache_size()
    evaluation.predict(model, variables, blobs(33), batch_size=16)
    other = model.replace_classes(5)
    head = other.new_head(jax.random.key(0))
    tuned = other.with_head(variables, head["kernel"], head["bias"])
    assert evaluation.predict(other, tuned, blobs(9), batch_size=16).shape == (9, 5)
    assert evaluation._features._cache_size() == compiled


@pytest.mark.parametrize("n", [1, 53, 64, 65, 136, 1000, 1023, 1024, 1025, 3000])
def test_the_padding_is_less_than_a_small_batch_of_few_images(n):
    sizes = []

    def double(x):
        sizes.append(len(x))
        return 2 * x

    inputs = np.arange(n, dtype=np.float32)
    np.testing.assert_array_equal(evaluation.map_batches(double, inputs), 2 * inputs)
    assert len(set(sizes)) == 1
    assert sum(sizes) - n < (64 if n < 1024 else 256)
    assert sizes[0] == evaluation.batch_size_of(n)


def test_known_features_give_the_same_evaluation(resnet):
    model, variables = resnet
    dataset = blobs(23)
    features = evaluation.extract_features(model, variables, dataset)
    computed = evaluation.evaluate(model, variables, dataset)
    known = evaluation.evaluate(model, variables, dataset, features=features)
    np.testing.assert_array_equal(known.correct, computed.correct)
    assert 0 < known.accuracy == computed.accuracy < 1
    other = evaluation.evaluate(model, variables, dataset, features=-features)
    assert other.correct.tolist() != known.correct.tolist()
    with pytest.raises(ValueError, match="features are of 22 examples; the data set has 23"):
        evaluation.evaluate(model, variables, dataset, features=features[1:])


def test_pixels_are_those_of_the_data_set():
    dataset = blobs(5)
    # XLA multiplies by the rounded 1 / 255, which moves the last bit of some values.
    compiled = jax.jit(evaluation.pixels)(dataset.images)
    np.testing.assert_allclose(compiled, dataset.pixels(), rtol=2e-7)


def test_nan_logits_are_wrong(resnet):
    model, variables = resnet
    variables = model.with_head(
        variables, np.full((model.feature_dim, 3), np.nan, np.float32), np.zeros(3, np.float32)
    )
    assert evaluation.evaluate(model, variables, blobs(9)).accuracy == 0.0


@pytest.mark.parametrize(
    ("dataset", "batch_size", "error", "message"),
    [
        (blobs(4, shape=(9, 8, 1)), 2, ValueError, r"images of shape \(9, 8, 1\).*\(8, 8, 1\)"),
        (blobs(4, num_classes=4), 2, ValueError, r"labels from 0 to 3; 0 to 2 are accepted"),
        (blobs(4), 0, ValueError, r"batch_size=0"),
        (blobs(4), 2.0, TypeError, r"batch_size=2\.0"),
    ],
)
def test_hostile_input(resnet, dataset, batch_size, error, message):
    with pytest.raises(error, match=message):
        evaluation.evaluate(*resnet, dataset, batch_size=batch_size)
