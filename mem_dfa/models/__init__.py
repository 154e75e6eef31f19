"""The list of models. Each is `build(input_shape=..., classes=..., layers=None, seed=None)`."""

from collections.abc import Callable

import keras

from mem_dfa.models.conv20 import conv20
from mem_dfa.models.depth import depth_net, depth_revnet
from mem_dfa.models.residual import (
    resnet32,
    resnet110,
    resnet164,
    revnet38,
    revnet110,
    revnet164,
)
from mem_dfa.models.small import liao_cifar, mlp, mnist_conv
from mem_dfa.models.vgg import vgg16

MODELS: dict[str, Callable[..., keras.Model]] = {
    "conv20": conv20,
    "depth_net": depth_net,
    "depth_revnet": depth_revnet,
    "vgg16": vgg16,
    "mlp": mlp,
    "mnist_conv": mnist_conv,
    "liao_cifar": liao_cifar,
    "resnet32": resnet32,
    "resnet110": resnet110,
    "resnet164": resnet164,
    "revnet38": revnet38,
    "revnet110": revnet110,
    "revnet164": revnet164,
}
