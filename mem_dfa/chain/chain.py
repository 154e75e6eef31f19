"""A Keras model cut into a chain of blocks.

A tensor that alone separates what comes before from what comes after it is a *separator*; what
lies between two separators is an *atom* (one layer, or a whole residual unit). A *block* is an
atom that holds weights together with the weightless and normalising atoms after it.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
from keras.src.models import Functional
from keras.src.ops.node import Node

from mem_dfa.chain.atom import ActivationPart, Atom, LinearPart, is_linear
from mem_dfa.chain.block import Block
from mem_dfa.chain.foreign_code import is_known_layer
from mem_dfa.errors import UnsupportedError
from mem_dfa.shapes.graph_models import is_graph
from mem_dfa.shapes.graph_tensors import UnknownBytesError
from mem_dfa.shapes.layer_calls import spec_of

# Where the batch is not known: hardly anything that is compared depends on it.
NOMINAL_BATCH = 32
# What is planned for where an axis of the batch has no fixed size: of pixels or words.
NOMINAL_SIZE = 224
RESHAPES = (
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.InputLayer,
    keras.layers.Permute,
    keras.layers.Reshape,
)
ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
ACTIVATION_OPERATIONS = (
    "Elu",
    "Gelu",
    "HardSigmoid",
    "LeakyRelu",
    "LogSigmoid",
    "LogSoftmax",
    "Relu",
    "Relu6",
    "Selu",
    "Sigmoid",
    "Silu",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
)


@dataclass(frozen=True)
class Chain:
    """Blocks f_1 .. f_n with a_i = f_i(a_{i-1}), then the `head` that turns logits into outputs.

    Attributes:
        blocks: the blocks in the order of the forward pass; the last one ends in the logits z.
        head: the model's last activation and what only reshapes after it, or may be an activation
            itself; empty for a model that ends in logits.
        input: the model's symbolic input (its shape and dtype).
    """

    blocks: tuple[Block, ...]
    head: Block
    input: keras.KerasTensor

    @classmethod
    def from_model(cls, model: keras.Model, alone: type[keras.layers.Layer] | tuple = ()) -> Chain:
        """Cut a built Sequential or functional model; nested ones are flattened.

        Args:
            model: a `keras.Sequential` or functional `keras.Model` with one input and one output.
                It is not changed: the chain runs the model's own layers.
            alone: kinds of layers that make a block of their own, without the weightless layers
                after them.

        Raises:
            UnsupportedError: the model cannot be cut, or holds something that blocks trained
                apart from each other cannot honour.
        """
        atoms = list(_atoms(model))
        if keras.tree.is_nested(getattr(model, "_outputs_struct", None)):
            raise UnsupportedError(
                f"Model '{model.name}' returns its output inside a list or dictionary: "
                "make it with the tensor itself, keras.Model(inputs, output)."
            )
        _refuse_unsupported(model, atoms)
        if getattr(model.outputs[0], "_keras_mask", None) is not None:
            raise UnsupportedError(
                f"The output of model '{model.name}' has a mask, which is not handed from block to "
                "block and so not to the loss: give fit sample weights instead, or train with 'bp'."
            )
        body, tail = _split_head(atoms)
        if not any(atom.weight_layers for atom in body):
            raise UnsupportedError(
                f"Model '{model.name}' has no layer with weights: there is nothing to train."
            )
        groups: list[list[Atom]] = [[]]
        ended = False  # whether the last group takes no more
        for atom in body:
            stands_alone = isinstance(atom.operations[0], alone)
            opens_block = bool(atom.weight_layers) and any(a.weight_layers for a in groups[-1])
            if (opens_block or stands_alone or ended) and groups[-1]:
                groups.append([])
            groups[-1].append(atom)
            ended = stands_alone
        blocks = tuple(Block(f"block_{i:03d}", group) for i, group in enumerate(groups, start=1))
        head = Block("head", tail, is_head=True)
        _refuse_shared((*blocks, head))
        chain = cls(blocks, head, model.inputs[0])
        # A nested model's own tensors have the shapes it was built with, not those of this call.
        output = chain.input
        for block in chain.blocks_and_head:
            output = block.output = block.follow(output)
        chain.see(chain.input.shape)
        return chain

    @property
    def blocks_and_head(self) -> tuple[Block, ...]:
        """All that runs, in order."""
        return (*self.blocks, self.head) if self.head.atoms else self.blocks

    def see(self, shape: Sequence[int | None]) -> None:
        """Plan for batches of that shape, (batch, ...), from now on.

        Where sizes are None, bytes are planned for `NOMINAL_SIZE` and said to be unknown.
        """
        sizes = tuple(NOMINAL_SIZE if size is None else size for size in shape[1:])
        unknown = "" if None not in shape[1:] else f"its batches have the shape {tuple(shape)}"
        example = spec_of(self.input, 1, sizes)
        try:
            for block in self.blocks:
                block.plan_for(example, unknown)
                example = block.follow(example)
        except Exception:
            # The nominal size need not suit the net. A batch that does not says so when it runs.
            for block in self.blocks:
                block.plan_for(None, unknown or f"it does not take batches of shape {tuple(shape)}")

    def require_known_bytes(self, batch_size: int) -> None:
        """Raise UnknownBytesError, with the reason, where bytes of a block are estimates only."""
        for block in self.blocks:
            unknown = block.bytes(batch_size).unknown
            if unknown:
                raise UnknownBytesError(unknown)

    def summary(self) -> str:
        """A table: one line a block with its layers, output shape and number of parameters."""
        lines = [f"{'block':<10} {'output':<22} {'parameters':>12}  layers"]
        for block in self.blocks:
            names = ", ".join(layer.name for layer in block.layers)
            several = len(block.weight_layers)
            note = f" [{several} weight layers: gradient of BP inside]" if several > 1 else ""
            shape, parameters = str(block.output_shape), f"{block.parameters:,}"
            lines.append(f"{block.name:<10} {shape:<22} {parameters:>12}  {names}{note}")
        if self.head.atoms:
            names = ", ".join(atom.name for atom in self.head.atoms)
            lines.append(f"{'head':<10} {self.head.output_shape!s:<22} {0:>12,}  {names}")
        return "\n".join(lines)


def _atoms(model: keras.Model) -> Iterator[Atom]:
    """Cut one level of the model's graph at its separators, then open nested models."""
    if not isinstance(model, (keras.Sequential, Functional)):
        raise UnsupportedError(
            f"Model '{model.name}' is a subclassed {type(model).__name__}: only a keras.Sequential "
            "or a functional keras.Model can be cut into blocks."
        )
    if not is_graph(model):
        raise UnsupportedError(
            f"Model '{model.name}' ({type(model).__name__}) has a call of its own, so that its "
            "layers are not all it does and it cannot be cut into blocks: make a layer of what "
            "call adds, or train with 'bp'."
        )
    if not model.built or not getattr(model, "inputs", None):
        raise UnsupportedError(
            f"Model '{model.name}' is not built: add a keras.Input as its first layer, or call "
            "model.build(input_shape) first."
        )
    for kind, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise UnsupportedError(
                f"Model '{model.name}' has {len(tensors)} {kind}: only a model with one input "
                "and one output is a chain."
            )
    start, end = model.inputs[0], model.outputs[0]
    nodes = _nodes_between(start, end)
    waiting = Counter(id(tensor) for node in nodes for tensor in _inputs_of(node))
    waiting[id(end)] += 1
    alive, before, held = {id(start)}, start, []
    for node in nodes:
        held.append(node)
        for tensor in _inputs_of(node):
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                alive.discard(id(tensor))
        alive |= {id(tensor) for tensor in node.output_tensors if waiting[id(tensor)]}
        if len(alive) == 1:
            after = next(t for t in [before, *node.output_tensors] if id(t) in alive)
            inner = held[0].operation
            if len(held) == 1 and is_graph(inner):
                yield from _atoms(inner)
            else:
                yield Atom(before, after, held)
            before, held = after, []


def _inputs_of(node: Node) -> list[keras.KerasTensor]:
    return list({id(tensor): tensor for tensor in node.input_tensors}.values())


def _nodes_between(start: keras.KerasTensor, end: keras.KerasTensor) -> list:
    """The calls on a path from `start` to `end`, each after those it depends on."""
    order: list = []
    seen: set[int] = set()
    stack = [(end, False)]
    while stack:
        tensor, done = stack.pop()
        if tensor is start:
            continue
        operation, node_index, _ = tensor._keras_history
        node = operation._inbound_nodes[node_index]
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((tensor, True))
            stack.extend((source, False) for source in node.input_tensors)
    return order


def _split_head(atoms: list[Atom]) -> tuple[list[Atom], list[Atom]]:
    """Cut before the model's last activation, so that the body ends in the logits z.

    A weight layer with an activation of its own, such as Dense(10, "softmax"), is split in two.
    What may be an activation, see `_may_be_activation`, belongs to the head as well.
    """
    start = len(atoms)
    for position in range(len(atoms) - 1, -1, -1):
        atom = atoms[position]
        operation = atom.operations[0] if len(atom.operations) == 1 else None
        linear = getattr(operation, "activation", None) in (None, keras.activations.linear)
        if isinstance(operation, ACTIVATIONS) and not (
            isinstance(operation, keras.layers.Activation) and linear
        ):
            return atoms[:position], atoms[position:]
        if type(operation).__name__ in ACTIVATION_OPERATIONS:
            return atoms[:position], atoms[position:]
        if is_linear(operation) and not linear:
            parts = (atom.before, atom.after, atom.nodes)
            return (
                [*atoms[:position], LinearPart(*parts)],
                [ActivationPart(*parts), *atoms[position + 1 :]],
            )
        if _may_be_activation(atom):
            start = position
        elif not isinstance(operation, (*RESHAPES, keras.layers.Activation)):
            break
    return atoms[:start], atoms[start:]


def _may_be_activation(atom: Atom) -> bool:
    """Whether nobody can tell: what keeps the shape, has no weights and is no layer of Keras's.

    A softmax in a Lambda, in a layer of the user's own, or made of operations. If it is another
    thing, e is taken before it all the same, by the exact chain rule.
    """
    return atom.before.shape == atom.after.shape and not any(
        isinstance(operation, keras.layers.Layer)
        and (operation.weights or is_known_layer(operation))
        for operation in atom.operations
    )


def _refuse_unsupported(model: keras.Model, atoms: list[Atom]) -> None:
    leaves = [leaf for atom in atoms for leaf in atom.layers]
    # Wrappers and custom layers hold others.
    for layer in (inner for leaf in leaves for inner in leaf._flatten_layers()):
        where = f"Layer '{layer.name}' ({type(layer).__name__}) of model '{model.name}'"
        if getattr(layer, "activity_regularizer", None) is not None:
            raise UnsupportedError(
                f"{where} has an activity regulariser, whose gradient would have to pass through "
                "the blocks before it: use a weight regulariser, or train with 'bp'."
            )
        call = inspect.unwrap(type(layer).call)
        if "add_loss" in getattr(getattr(call, "__code__", None), "co_names", ()):
            raise UnsupportedError(
                f"{where} calls add_loss, whose gradient would have to pass through the blocks "
                "before it: put the term into the loss function, or train with 'bp'."
            )
        if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
            raise UnsupportedError(
                f"{where} makes a mask, which is not handed from block to block: "
                "remove the mask, or train with 'bp'."
            )
        if getattr(layer, "stateful", False):
            raise UnsupportedError(
                f"{where} is stateful: its state would move twice where a block runs twice; "
                "use stateful=False, or train with 'bp'."
            )
        if isinstance(layer, keras.layers.SpectralNormalization):
            raise UnsupportedError(
                f"{where} changes its own weights in the forward pass, which cannot be run twice: "
                "use another normalisation, or train with 'bp'."
            )


def _refuse_shared(blocks: Sequence[Block]) -> None:
    owner: dict[int, tuple[Block, str]] = {}
    for block in blocks:
        for layer in block.layers:
            for variable in layer.variables:
                first, name = owner.setdefault(id(variable), (block, layer.name))
                if first is not block:
                    raise UnsupportedError(
                        f"Layer '{layer.name}' shares '{variable.name}' between {first.name} "
                        f"('{name}') and {block.name}: a layer may be used in one block only; "
                        "give each use a layer of its own, or train with 'bp'."
                    )
