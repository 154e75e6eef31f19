"""Tensors that Python holds are found among everything else that it holds."""

import weakref

import pytest
from mem_dfa.profiling.recording.held_tensors import held


def test_a_weak_proxy_of_what_is_gone_is_passed_over() -> None:
    """The collector lists it, and an error answers whoever asks for its class."""
    import tensorflow as tf

    class Own:
        pass

    owner = Own()
    proxy = weakref.proxy(owner)
    del owner
    with pytest.raises(ReferenceError):
        isinstance(proxy, str)
    batch = tf.ones((3, 517))
    assert [found.nbytes for found in held() if found.shape == "[3,517]"] == [3 * 517 * 4]
    del batch
