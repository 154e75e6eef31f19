"""The step of an elementwise optimizer on stand-ins: parts of a variable, or values in its place.

What takes the place of a variable and of its slots is a `StandIn`.
"""

from __future__ import annotations

from typing import TypeAlias

import keras
import tensorflow as tf

from mem_dfa.graph.stand_in import StandIn

Tensor: TypeAlias = tf.Tensor

# Elementwise optimizers, with the attributes that hold their slots: lists in the variables' order,
# empty where the optimizer is configured without.
SLOTS: dict[type, tuple[str, ...]] = {
    keras.optimizers.SGD: ("momentums",),
    keras.optimizers.Adam: ("_momentums", "_velocities", "_velocity_hats"),
    keras.optimizers.AdamW: ("_momentums", "_velocities", "_velocity_hats"),
    keras.optimizers.RMSprop: ("_velocities", "_momentums", "_average_gradients"),
    keras.optimizers.Adagrad: ("_accumulators",),
    keras.optimizers.Adadelta: ("_accumulated_grads", "_accumulated_delta_vars"),
    keras.optimizers.Adamax: ("_m", "_u"),
    keras.optimizers.Lion: ("_momentums",),
    keras.optimizers.Ftrl: ("_accumulators", "_linears"),
}


def slots_of(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> dict[str, keras.Variable]:
    """The slots that an optimizer in SLOTS holds for `variable`, by attribute."""
    index = optimizer._get_variable_index(variable)
    slots = {name: getattr(optimizer, name, None) for name in SLOTS[type(optimizer)]}
    return {name: slot[index] for name, slot in slots.items() if slot}


def is_decayed(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> bool:
    """Whether the optimizer's weight decay counts for `variable`."""
    # Keras looks for excluded names in the TensorFlow variable's name, which is the whole path,
    # and remembers what it found.
    return optimizer.weight_decay is not None and optimizer._use_weight_decay(variable.value)


def step_on(
    optimizer: keras.optimizers.Optimizer,
    variable: keras.Variable,
    stand_in: StandIn,
    slots: dict[str, StandIn],
    gradient: Tensor,
    iterations: Tensor | None = None,
    rate: Tensor | None = None,
) -> None:
    """Write the step into `stand_in` and the slots, as `keras.Optimizer.apply` does.

    It neither counts the step nor applies constraints.

    Args:
        optimizer: in SLOTS.
        variable: whose place `stand_in` takes.
        stand_in: of the shape that `gradient` has.
        slots: the same for each of `slots_of`.
        gradient: with the weights' penalty, times the loss scale.
        iterations: steps so far; None for the optimizer's own count.
        rate: learning rate; None for the optimizer's own.
    """
    # In the order of `apply`: unscale, clip, decay, step.
    if optimizer.loss_scale_factor is not None:
        gradient /= optimizer.loss_scale_factor
    (gradient,) = optimizer._clip_gradients([gradient])
    rate = optimizer.learning_rate if rate is None else rate
    if is_decayed(optimizer, variable):
        decay = tf.cast(optimizer.weight_decay, stand_in.dtype)
        stand_in.assign_sub(tf.convert_to_tensor(stand_in) * decay * tf.cast(rate, stand_in.dtype))
    # The optimizer as it is, except that its slots are stand-ins, too.
    index = optimizer._get_variable_index(variable)
    substitute = object.__new__(type(optimizer))
    substitute.__dict__.update(optimizer.__dict__)
    substitute.__dict__.update({name: {index: slot} for name, slot in slots.items()})
    if iterations is not None:
        substitute.__dict__["_iterations"] = iterations
    substitute.update_step(gradient, stand_in, rate)
