"""Optimizers: optax's, or their names."""

from __future__ import annotations

import difflib
from typing import Any

from graphopt.errors import ArgumentError, MissingDependencyError

#: Names that are taken: those of optax's functions.
OPTIMIZERS = (
    "sgd",
    "adam",
    "adamw",
    "nadam",
    "adagrad",
    "adamax",
    "adabelief",
    "rmsprop",
    "lion",
    "lamb",
    "lars",
    "radam",
)


def optimizer_of(
    optimizer: Any, learning_rate: Any = 1e-3, clip_norm: float | None = None, accumulate: int = 1, **options: Any
) -> Any:
    """An optax transformation.

    Args:
        optimizer: a name of the table, or an `optax.GradientTransformation`, which has its own learning rate.
        learning_rate: a number, or a schedule of optax: from the step's number to the rate.
        clip_norm: gradients together are made no longer than this (their global norm).
        accumulate: so many batches make one step: gradients are averaged over them.
        options: passed to the optimizer that is named, as momentum=0.9.

    Raises:
        ArgumentError: an unknown name, or a number that makes no sense.
        MissingDependencyError: optax is not installed.
    """
    try:
        import optax
    except ImportError as e:
        raise MissingDependencyError("training needs optax: pip install graphopt[train]") from e
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            near = difflib.get_close_matches(optimizer, OPTIMIZERS, 1)
            raise ArgumentError(
                f"no optimizer is called '{optimizer}'{f'; did you mean {near[0]}?' if near else ''} There are "
                f"{', '.join(OPTIMIZERS)}, and any transformation of optax"
            )
        if not callable(learning_rate) and not learning_rate >= 0:
            raise ArgumentError(f"learning_rate must be a number, 0 or more, or a schedule, not {learning_rate!r}")
        try:
            optimizer = getattr(optax, optimizer)(learning_rate, **options)
        except TypeError as e:
            raise ArgumentError(f"optimizer '{optimizer}': {e}") from e
    elif not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise ArgumentError(
            f"optimizer must be a name or an optax.GradientTransformation, not a {type(optimizer).__name__}"
        )
    elif options:
        raise ArgumentError(
            f"optimizer_options are for optimizers by name; give {next(iter(options))} to optax's function"
        )
    if clip_norm is not None:
        if not clip_norm > 0:
            raise ArgumentError(f"clip_norm must be a positive number, not {clip_norm!r}")
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    if not isinstance(accumulate, int) or isinstance(accumulate, bool) or accumulate < 1:
        raise ArgumentError(f"accumulate must be a number of batches, 1 or more, not {accumulate!r}")
    return optax.MultiSteps(optimizer, accumulate) if accumulate > 1 else optimizer
