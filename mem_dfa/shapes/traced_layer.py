"""What a layer keeps for its gradient, from its own operations: traced once for its shapes.

The layer is run and differentiated in a graph that is never executed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from mem_dfa.random_state import restored_draws
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.graph_walk import Traced, walk
from mem_dfa.shapes.layer_calls import Call

_traced: dict[Any, Traced | UnknownBytesError] = {}


def traced(call: Call) -> Traced:
    """What the operations of a call hold; calls that are alike are traced once.

    Raises:
        UnknownBytesError: it cannot be told; says why.
    """
    key = _key(call)
    if key not in _traced:
        try:
            _traced[key] = _trace(call)
        except UnknownBytesError as error:
            _traced[key] = error
    found = _traced[key]
    if isinstance(found, UnknownBytesError):
        raise found
    return found


def _key(call: Call) -> str:
    layer = call.operation
    try:
        config = json.dumps(layer.get_config(), default=lambda part: part.get_config())
        # Names count by their order, so that blocks that are alike are alike here.
        for number, name in enumerate(dict.fromkeys(re.findall(r'"name": ("[^"]+")', config))):
            config = config.replace(name, f'"#{number}"')
        config = re.sub(r'"seed": \d+', "", config)
    except Exception:  # a user's own, which need not have one
        config = str(id(layer))
    weights = [(v.shape, v.dtype, v.trainable) for v in getattr(layer, "variables", ())]
    specs = [(spec.shape, spec.dtype) for spec in call.inputs]
    places = {number: place for place, number in enumerate(call.values)}
    arguments = call.node.arguments.convert(lambda value: places.get(id(value), value))
    return f"{type(layer)!r} {config} {weights} {specs} {arguments}"


def _trace(call: Call) -> Traced:
    import keras
    import tensorflow as tf

    passes: dict[str, Any] = {}

    def run(inputs: list[tf.Tensor], errors: list[tf.Tensor]) -> None:
        args, kwargs = call.node.arguments.fill_in(dict(zip(call.values, inputs, strict=True)))
        if "training" in getattr(call.operation, "_call_context_args", ()):
            kwargs["training"] = True
        watched = [tensor for tensor in inputs if tensor.dtype.is_floating]
        with keras.StatelessScope(), tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = keras.tree.flatten(call.operation(*args, **kwargs))
        variables = [v.value for v in getattr(call.operation, "trainable_variables", ())]
        found = tape.gradient(outputs, [*variables, *watched], output_gradients=errors)
        gradients = [g.values if isinstance(g, tf.IndexedSlices) else g for g in found]
        gradients = [g for g in gradients if g is not None]
        passes.update(inputs=inputs, errors=errors, outputs=outputs, gradients=gradients)

    groups = (call.values.values(), call.outputs)
    try:
        with restored_draws():
            signature = ([tf.TensorSpec(s.shape, s.dtype) for s in group] for group in groups)
            graph = tf.function(run).get_concrete_function(*signature).graph
    except Exception as error:
        raise UnknownBytesError("cannot be traced by itself") from error
    return walk(graph.get_operations(), **passes)
