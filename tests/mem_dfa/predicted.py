"""What steps of `dni`, `cdni` and `unlock` come to, by plain NumPy."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from tests.mem_dfa.test_mathematics import softmax

PENALTY, RATE, CLASSES = 2**-5, 0.5, 3
EPSILON, MOMENTUM = 1e-3, 0.99  # of Keras's BatchNormalization
WEIGHTS = np.linspace(0.5, 1.5, 8)
"""Of the examples."""


def dense_net() -> keras.Model:
    keras.utils.set_random_seed(0)
    how = {"kernel_regularizer": keras.regularizers.L2(PENALTY), "bias_initializer": "normal"}
    dense = keras.layers.Dense
    hidden = [dense(units, "tanh", **how) for units in (6, 5, 4)]
    return keras.Sequential([keras.Input((7,)), *hidden, dense(CLASSES)])


def dense_data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(8, 7))
    return x, np.random.default_rng(1).integers(CLASSES, size=8)


class Net:
    """A predicting net of no or one hidden layer, trained by SGD on half the squared error."""

    def __init__(self, weights: Sequence[np.ndarray]) -> None:
        self.weights = [w.copy() for w in weights]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        self.inputs = inputs
        if len(self.weights) == 2:
            kernel, bias = self.weights
            return inputs @ kernel + bias
        first, gamma, beta, _, _, kernel, bias = self.weights
        z = inputs @ first
        self.moments = z.mean(0), z.var(0)
        self.normal = (z - z.mean(0)) / np.sqrt(z.var(0) + EPSILON)
        self.hidden = np.maximum(gamma * self.normal + beta, 0)
        return self.hidden @ kernel + bias

    def train(self, error: np.ndarray) -> None:
        """By dL/dP of the last call; statistics move as well."""
        if len(self.weights) == 2:
            self._move([self.inputs.T @ error, error.sum(0)], [0, 1])
            return
        _, gamma, _, _, _, kernel, _ = self.weights
        gradients = [self.hidden.T @ error, error.sum(0)]
        error = (error @ kernel.T) * (self.hidden > 0)
        gradients = [(error * self.normal).sum(0), error.sum(0), *gradients]
        # Through the normalisation, of which the mean and the variance depend on the batch.
        error, n = error * gamma, self.normal
        error = error - error.mean(0) - n * (error * n).mean(0)
        error /= np.sqrt(self.moments[1] + EPSILON)
        self._move([self.inputs.T @ error, *gradients], [0, 1, 2, 5, 6])
        for position, moment in zip((3, 4), self.moments, strict=True):
            self.weights[position] *= MOMENTUM
            self.weights[position] += (1 - MOMENTUM) * moment

    def _move(self, gradients: list[np.ndarray], positions: list[int]) -> None:
        for position, gradient in zip(positions, gradients, strict=True):
            self.weights[position] = self.weights[position] - RATE * gradient


class Oracle:
    """A net of dense layers, its predictors, and nets for the inputs of blocks if there are any."""

    def __init__(self, trainer: keras.Model, takes_labels: bool) -> None:
        weights = [w.copy() for w in trainer.network.get_weights()]
        self.kernels, self.biases = weights[::2], weights[1::2]
        self.predictors = [Net(net.get_weights()) for net in trainer.predictors]
        own = getattr(trainer, "synthetic_inputs", [])
        self.inputs = [Net(net.get_weights()) for net in own]
        self.takes_labels = takes_labels

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        batch, labels, before = len(x), np.eye(CLASSES)[y], x
        for number in range(len(self.kernels)):
            w, given = self.kernels[number], before
            if number and self.inputs:
                given = self.inputs[number - 1](x)
                self.inputs[number - 1].train((given - before) / batch)
            a, is_last = given @ w + self.biases[number], number == len(self.kernels) - 1
            if is_last:
                error = (softmax(a) - labels) * WEIGHTS[:, None] / batch
            else:
                a = np.tanh(a)
                seen = np.concatenate([a, labels], 1) if self.takes_labels else a
                # δ̂_i = s_i(a_i) / B
                error = self.predictors[number](seen) / batch * (1 - a**2)
            target = batch * error @ w.T
            decay = 0 if is_last else 2 * PENALTY * w
            self.kernels[number] = w - RATE * (given.T @ error + decay)
            self.biases[number] = self.biases[number] - RATE * error.sum(0)
            if number:
                predictor = self.predictors[number - 1]
                seen = np.concatenate([before, labels], 1) if self.takes_labels else before
                # L = ½ · mean over the batch of the sum over units of (s − t)²
                predictor.train((predictor(seen) - target) / batch)
            before = a

    def weights(self) -> Iterator[np.ndarray]:
        """As the trainer has them."""
        for pair in zip(self.kernels, self.biases, strict=True):
            yield from pair
        for net in (*self.predictors, *self.inputs):
            yield from net.weights


def weights_of(trainer: keras.Model) -> list[np.ndarray]:
    """In the oracle's order."""
    nets = (trainer.network, *trainer.predictors, *getattr(trainer, "synthetic_inputs", []))
    return [w for net in nets for w in net.get_weights()]
