"""Every error that graphopt raises on purpose. The message names the file, node or argument, and what to do."""

from __future__ import annotations


class GraphoptError(Exception):
    """Base of all errors of the package; the command line prints its message in one line."""


class ModelError(GraphoptError):
    """The model cannot be read or is not a valid graph: missing, truncated, cyclic, external data lost..."""


class SaveError(GraphoptError):
    """The model could not be written; nothing was left behind at the destination."""


class ArgumentError(GraphoptError, ValueError):
    """An argument has a value that makes no sense here: an unknown rule, level, input name, shape..."""


class OpsetError(GraphoptError, ValueError):
    """A node cannot be written at the opset that was asked for; the message names it, and says why."""


class RuleError(GraphoptError):
    """A rule is ill-formed: its body does not follow the rule language."""


class RewriteLoopError(RuleError):
    """A set of rules keeps rewriting its own results."""


class UnsupportedError(GraphoptError):
    """An executor lacks operators or types that a model needs; the message names them, and says nothing about the model."""


class RunError(GraphoptError):
    """A node failed on the inputs that it got, or the program that ran the model died; the message names it."""


class MissingDependencyError(GraphoptError, ImportError):
    """An optional back end is not installed; the message names the extra that brings it."""
