# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which rewrite broke my model?
#
# An optimised model gives other outputs. It happens: a rule of yours has a hole, or one of ours has. Every step is in
# the ledger and optimising can stop after any of them, so the step at fault can be found by halving. This notebook
# plants a mistake in the middle of a real optimisation and finds it.

# %%
import tempfile
from pathlib import Path

import graphopt
from graphopt.demo import demo_model
from graphopt.rewrite import op, rule

# %% [markdown]
# The rule looks innocent. `clip(x + 3, 0, 6) / 6` is a hard sigmoid, so the next line of the author's thoughts was
# that `x * sigmoid(x)` might be had cheaper as well:


# %%
@rule
def cheap_silu(x):
    """x times its sigmoid is nearly x times its hard sigmoid."""
    yield x * op.Sigmoid(x)
    yield x * op.HardSigmoid(x, alpha=1 / 6, beta=0.5)


detector = demo_model()
fast = graphopt.optimize(detector, rules=[cheap_silu])
result = graphopt.verify(detector, fast)
result

# %%
assert not result

# %% [markdown]
# The outputs differ, by more than any rounding. How far, beside what is allowed:

# %%
from graphopt.view import plots

axes = plots.verification(result)
# %% [markdown]
# ## Bisect
#
# With all arguments that made the wrong model, `bisect` optimises again and again with fewer steps, and compares each
# time:

# %%
found = graphopt.bisect(detector, rules=[cheap_silu])
found

# %%
assert found and found.step.rule == "cheap_silu"

# %% [markdown]
# It names the step, the rule and its place in the source, and cuts the model down to the nodes that show the
# difference. That is what belongs into a bug report:

# %%
with tempfile.TemporaryDirectory() as folder:
    for path in found.save(Path(folder) / "shows_it.onnx"):
        print(path.name, graphopt.load(path))

# %% [markdown]
# From a shell it is one command, which exits with 1 where a rewrite is at fault, so that it can run in CI:
#
# ```sh
# graphopt bisect model.onnx -o shows_it.onnx
# ```
#
# ## Looking closer
#
# `optimize(steps=n)` stops after n steps, as bisect does. The last good model, and the first bad one:

# %%
good = graphopt.optimize(detector, rules=[cheap_silu], steps=found.at - 1)
bad = graphopt.optimize(detector, rules=[cheap_silu], steps=found.at)
assert graphopt.verify(detector, good) and not graphopt.verify(detector, bad)
bad.report.step(found.at)

# %% [markdown]
# The rule's own test would have found this before any model did:

# %%
from graphopt.testing import RuleFailure, check_rule, prove

try:
    check_rule(cheap_silu, on=["reference"])
except RuleFailure as failure:
    print(failure)
else:
    raise AssertionError("the mistake was not found")

# %%
prove(cheap_silu)

# %% [markdown]
# ## What to do then
#
# - Leave the rule out until it is mended: `optimize(..., without="cheap_silu")`, or a whole family by its name.
# - Give it a guard, test it with `check_rule`, and keep the small model as a test.
# - If the rule is one of the package's, please report it, with the model that `save` wrote.

# %%
mended = graphopt.optimize(detector, rules=[cheap_silu], without="cheap_silu")
assert graphopt.verify(detector, mended)
mended
