"""Networks trained in groups of blocks: what the blocked algorithms share."""

from __future__ import annotations

from typing import Any

import keras

from mem_dfa.algorithms.blockwise import Blockwise
from mem_dfa.chain.chain import Chain
from mem_dfa.memory.groups import SQRT, Groups, group_starts


class Grouped(Blockwise):
    """A blockwise algorithm whose blocks are groups of consecutive blocks of the network.

    A group is one coarser block: what it keeps is freed together, and inside it the error signal
    is BP's.
    """

    def __init__(
        self,
        network: keras.Model,
        groups: Groups = SQRT,
        batch_size: int | None = None,
        **details: Any,
    ) -> None:
        """Wrap `network`.

        Args:
            network: a built Sequential or functional model; nested ones are opened.
            groups: K, the number of consecutive blocks in a group, counted from the last block, so
                that the first group may be smaller; "sqrt" for about √n; a size such as "16 MiB",
                within which the second forward pass stays, for as many blocks a group as fit; or
                names of the blocks that begin a group, such as "block_005".
            batch_size: what a size is for.
            **details: as of the algorithm without groups.

        Raises:
            UnsupportedError: the algorithm cannot train the network; no such groups.
        """
        # The chain is cut while the trainer is made.
        self.groups, self.batch_size = groups, batch_size
        super().__init__(network, **details)
        self.batch_size = batch_size

    def cut(self, network: keras.Model) -> Chain:
        """The network in groups of blocks."""
        chain = super().cut(network)
        name = type(self).__name__
        return chain.grouped(group_starts(name, chain.blocks, self.groups, self.batch_size))

    def get_config(self) -> dict[str, Any]:
        """As in Keras."""
        groups = self.groups if isinstance(self.groups, (int, str)) else list(self.groups)
        return {**super().get_config(), "groups": groups, "batch_size": self.batch_size}
