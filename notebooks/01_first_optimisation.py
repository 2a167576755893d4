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
# # A first optimisation
#
# A model comes in, and the same model comes out in fewer nodes. This notebook takes a small detector through that,
# looks at what was done to it, and makes sure that it still computes the same.
#
# The detector ships with the package, so nothing has to be downloaded. For a model of yours, put its path in the
# place of `demo_model()`: everything below works the same.

# %%
import tempfile
from pathlib import Path

import graphopt
from graphopt.demo import demo_model

model = graphopt.load(demo_model())
model

# %% [markdown]
# That is what a model looks like here: how many nodes, what goes in and out, and the graph. Weights are written into
# the boxes that read them, as their dims; rest the pointer on a box for its name and attributes. Chains of nodes are
# folded where a drawing would be too large.
#
# It is written down the way exporters write networks. Most of it need not be there: BatchNormalization behind
# convolutions, activations spelt out in elementary operators, shapes computed at run time that are known beforehand.
#
# ## Optimise it

# %%
fast = graphopt.optimize(model)
fast.report

# %% [markdown]
# On the left, operators before and after. On the right, the rules that did it: each is an equation, and each was
# applied only where its guard could prove that it holds. Unfold *what nearly applied* for the others; a rule that
# declines says why.
#
# Nothing was specified, so this was level 2: algebra and fusion into standard ONNX operators, which every runtime can
# run. Level 1 keeps every bit, level 3 uses the operators of the runtime that you name (notebook 3 compares them).
#
# The same in a plot:

# %%
from graphopt.view import plots

axes = plots.operators(fast.report)
# %% [markdown]
# ## One step at a time
#
# The report keeps every step. Here is the first one in which a hard swish was recognised, which the exporter had spelt out:

# %%
number = next(s.number for s in fast.report.numbered() if s.name == "hard_swish_spelled_out")
fast.report.step(number)

# %% [markdown]
# Red is what went away, green what came. `report.explain` finds the steps that touched a certain node, here the last
# convolution's BatchNormalization:

# %%
name = next(n.name for n in reversed(list(model.graph)) if n.op == "BatchNormalization")
for step in fast.report.explain(name):
    print(step.rule, "at", step.location, ":", [n.op for n in step.before], "->", [n.op for n in step.after])

# %% [markdown]
# ## Is it still the same model?
#
# Inputs and outputs keep their names, order, types and declared dims, always. Whether the outputs are the same is a
# question for real kernels: `verify` runs both models on the same random inputs, on the reference kernels of this
# package and on ONNX Runtime where that is installed.

# %%
result = graphopt.verify(model, fast)
result

# %%
assert result, "the optimised model computes something else"

# %% [markdown]
# Differences are shown beside what was allowed. Level 2 moves roundings about, so they are not zero. An output that
# does not depend on the inputs, or is too small to tell, is never called equal.
#
# ## Save it

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "detector.opt.onnx"
    fast.save(path)
    print(path.name, path.stat().st_size, "bytes;", graphopt.load(path))

# %% [markdown]
# The same from a shell:
#
# ```sh
# graphopt optimize model.onnx -o model.opt.onnx --verify
# ```
#
# Next: [write a rule of your own](02_a_rule_of_your_own.py).
