"""One more callback in every `fit` that a program calls, of Keras that may not be imported yet."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import wrapt


@contextmanager
def in_every_fit(callback_for: Callable[[Any], Any]) -> Iterator[None]:
    """Give each `fit` of a Keras model in the context one more callback.

    Keras is not imported for that, because a program sets variables before it does. A `fit` within
    another one, as of a callback that trains a model, gets none.

    Args:
        callback_for: gives the callback for a model, or None for no more than it has.
    """
    undo: list[Callable[[], None]] = []
    is_over = False

    def patch(keras: ModuleType) -> None:
        if not is_over:
            undo.append(_patch(keras, callback_for))

    wrapt.register_post_import_hook(patch, "keras")
    try:
        yield
    finally:
        is_over = True
        for function in undo:
            function()


def _patch(keras: Any, callback_for: Callable[[Any], Any]) -> Callable[[], None]:
    """Replace `fit` in the class that has it; the function that is returned puts it back."""
    owner = next(kind for kind in keras.Model.__mro__ if "fit" in vars(kind))
    original, inside = owner.fit, False
    signature = inspect.signature(original)

    @functools.wraps(original)
    def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        callback = None if inside else callback_for(model)
        if callback is None:
            return original(model, *args, **kwargs)
        try:
            given = signature.bind(model, *args, **kwargs)
        except TypeError:
            return original(model, *args, **kwargs)  # which says what is wrong with them
        callbacks = given.arguments.get("callbacks")
        given.arguments["callbacks"] = _with(keras, callbacks, callback, model)
        inside = True
        try:
            return original(*given.args, **given.kwargs)
        finally:
            inside = False

    owner.fit = fit
    return functools.partial(setattr, owner, "fit", original)


def _with(keras: Any, callbacks: Any, callback: Any, model: Any) -> Any:
    """The program's own callbacks, untouched, and one more."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        # It is used as it is: Keras adds no progress bar to it.
        return keras.callbacks.CallbackList([callbacks, callback], model=model)
    return [*keras.tree.flatten(callbacks or []), callback]
