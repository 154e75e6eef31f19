"""Predictors of error signals, each trained on what the block after it passes back.

    P_i = s_i(a_i; θ_i),  δ̂_i = P_i / B,  t_i = B·J_{i+1}ᵀ δ̂_{i+1}
    L_i = ½ · mean over the batch of the sum over units of (P_i − t_i)²

A predictor says B times the signal: e carries 1/B, and so small a target would be lost in Adam's ε.
Because the loss is a mean over the batch and a sum over units, its gradient is a difference of two
signals, ∂L_i/∂P_i = (P_i − t_i)/B = δ̂_i − J_{i+1}ᵀ δ̂_{i+1}, whatever the block's size. Sample
weights and the loss scale are in e, so in every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mem_dfa.chain.block import Block
from mem_dfa.chain.local_gradient import Recording
from mem_dfa.errors import UnsupportedError
from mem_dfa.feedback.logits import one_hot
from mem_dfa.feedback.predicting_nets import (
    as_block,
    check_layers,
    predicting_net,
    seeds_of,
    shape_of,
)
from mem_dfa.feedback.signal import Signal
from mem_dfa.graph.ordering import after, token
from mem_dfa.graph.profile_scope import scope
from mem_dfa.shapes.layer_bytes import spec_bytes
from mem_dfa.shapes.layer_calls import spec_of


class Predictors(Signal):
    """A net for each block but the last, which predicts the error signal at the block's output.

    Attributes:
        blocks: the nets as blocks, by the name of the block whose signal they predict.
        takes_labels: whether they see the labels.
        inputs: nets that predict blocks' inputs, as blocks, by the name of the block.
    """

    def __init__(self, trainer: Any, hidden_layers: int, takes_labels: bool = False) -> None:
        """Make the predictors.

        Args:
            trainer: whose blocks they are for, which holds and saves them as `predictors`.
            hidden_layers: of each, 0 to 3.
            takes_labels: whether they see the labels, one-hot, beside a_i.

        Raises:
            UnsupportedError: no such number of layers; a block whose output has no fixed shape;
                logits that are not one number for each class.
        """
        owner = type(trainer).__name__
        check_layers(owner, hidden_layers)
        self._owner, self._trainer, self._chain = owner, trainer, trainer.chain
        self._hidden_layers, self.takes_labels = hidden_layers, takes_labels
        hidden = self._chain.blocks[:-1]
        if takes_labels and hidden and len(self._chain.blocks[-1].output_shape) != 2:
            raise UnsupportedError(
                f"{owner} received a model whose logits have the shape "
                f"{self._chain.blocks[-1].output_shape}: its predictors take one label an example, "
                "for logits of shape (batch, classes); train with 'dni'."
            )
        seeds = seeds_of(trainer.seed, len(hidden), hidden_layers)
        trainer.predictors = [
            predicting_net(
                f"feedback_{block.name}",
                self._seen_of(block),
                shape_of(owner, block),
                own,
                trainer.dtype_policy,
            )
            for block, own in zip(hidden, seeds, strict=True)
        ]
        self.inputs: dict[str, Block] = {}
        self.blocks = {
            block.name: as_block(net, block.name)
            for block, net in zip(hidden, trainer.predictors, strict=True)
        }

    @property
    def held(self) -> Sequence[keras.Variable]:
        """θ_i, and moving statistics."""
        return [variable for net in self._trainer.predictors for variable in net.variables]

    def get_config(self) -> dict[str, Any]:
        """The trainer's arguments that made it."""
        return {"predictor_layers": self._hidden_layers}

    def predicted(self, block: Block, outputs: tf.Tensor, y: Any) -> tf.Tensor:
        """δ̂_i of any block but the last, shape of a_i, times the optimizer's loss scale.

        Args:
            block: which.
            outputs: a_i.
            y: the labels, as they were given.

        Raises:
            UnsupportedError: the predictors take labels, and these are neither numbers of classes
                nor one-hot.
        """
        # Statistics move once a step, when the predictor is trained.
        with keras.StatelessScope():
            seen = self._seen(block, outputs, y, "forward", token([outputs]))
            # P_i = s_i(a_i; θ_i)
            prediction = self.blocks[block.name].run(seen, "forward")
        with scope("forward", block.name):
            return tf.reshape(self.signal_of(prediction), tf.shape(outputs))

    def recorded(
        self,
        block: Block,
        outputs: tf.Tensor,
        y: Any,
        earlier: tf.Tensor,
        tiled: Sequence[keras.layers.Layer],
    ) -> Recording:
        """The prediction again, for the gradient of θ_i.

        Args:
            block: see `predicted`.
            outputs: see `predicted`.
            y: see `predicted`.
            earlier: a token of what has to be over before it runs.
            tiled: as of `Recording`.
        """
        seen = self._seen(block, outputs, y, "backward", earlier)
        return Recording(self.blocks[block.name], seen, "backward", earlier, tiled=tiled)

    def signal_of(self, prediction: tf.Tensor) -> tf.Tensor:
        """P_i / B, times the optimizer's loss scale."""
        batch = tf.shape(prediction)[0]
        # Of half precision the factor is one number with the loss scale, not two roundings.
        exact = tf.float64 if prediction.dtype == tf.float64 else tf.float32
        share = self._trainer.optimizer.scale_loss(1 / tf.cast(batch, exact))
        return prediction * tf.cast(share, prediction.dtype)

    def copied_bytes(self, block: Block, batch_size: int) -> int:
        """Of a_i beside the labels; 0 where a predictor takes a_i itself."""
        return spec_bytes(spec_of(self._seen_of(block), batch_size)) if self.takes_labels else 0

    def _seen_of(self, block: Block) -> keras.KerasTensor:
        """Shape and dtype of what the predictor is given."""
        *sizes, channels = shape_of(self._owner, block)
        if self.takes_labels:
            channels += self._chain.blocks[-1].output_shape[-1]
        return keras.KerasTensor((None, *sizes, channels), block.output.dtype)

    def _seen(
        self,
        block: Block,
        outputs: tf.Tensor,
        y: Any,
        phase: str,
        earlier: tf.Tensor,
    ) -> tf.Tensor:
        """a_i, with a further channel for each class, which is 1 or 0 all over an example.

        Channels of labels are made after `earlier`: they are alike for many blocks, of which all
        would otherwise read the first one's.
        """
        *sizes, channels = shape_of(self._owner, block)
        with scope(phase, block.name):
            outputs = tf.reshape(outputs, [-1, *sizes, channels])
            if not self.takes_labels:
                return outputs
            labels = self._one_hot(y, outputs.dtype)
            batch, classes = tf.shape(outputs)[0], labels.shape[-1]
            maps = tf.reshape(after(labels, earlier), [batch, *[1] * len(sizes), classes])
            maps = tf.broadcast_to(maps, [batch, *sizes, classes])
            return tf.concat([outputs, maps], -1)

    def _one_hot(self, y: Any, dtype: tf.DType) -> tf.Tensor:
        y, logits = tf.convert_to_tensor(y), self._chain.blocks[-1].output
        labels = one_hot(self._owner, y, logits, "dni")
        is_one_hot = y.shape[1:] == logits.shape[1:] and len(y.shape) == len(logits.shape)
        if not (is_one_hot or y.dtype.is_integer or y.dtype.is_bool):
            raise UnsupportedError(
                f"{self._owner} received labels of shape {tuple(y.shape)} and type {y.dtype.name}: "
                "its predictors take numbers of classes of a whole type, such as int32, or one-hot "
                "labels; convert them, or train with 'dni'."
            )
        return tf.cast(labels, dtype)
