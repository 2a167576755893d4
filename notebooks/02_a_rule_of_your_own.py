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
# # A rule of your own: write it, test it, prove it, use it
#
# A rule is a Python generator. The first `yield` says what to see, the second what to write; the Python between them
# is the guard. That is all there is to it, and this notebook goes all the way with one: fuse a product with a scaled
# bias.
#
# The networks of our example end their layers with
#
#     y = (x @ w) * scale + shift
#
# where scale and shift have one number for each column. A product's columns can be scaled once and for all, in the
# weights:

# %%
from graphopt.rewrite import Const, op, rule


@rule
def scaled_product(x, w: Const["K N"], scale: Const["N"], shift: Const["N"]):
    """The scale of a product's columns belongs to its weights."""
    yield op.MatMul(x, w) * scale + shift
    yield op.MatMul(x, w * scale) + shift


scaled_product

# %% [markdown]
# `Const["K N"]` is a constant with two dims; the letter `N` is the same dim wherever it stands. In the second
# `yield`, `w * scale` is NumPy: both are constants there, so their product is computed now and becomes a new weight.
# `op.MatMul(x, ...)` is a node.
#
# Nobody has to write the other spellings down. The operands of a sum and a product are tried in both orders, and in
# rules that are not `exact` in every association: `shift + scale * (x @ w)` is found as well.
#
# ## Test it
#
# What a rule declares is enough to test it. `check_rule` draws models that hold its left side, with everything around
# them that could go wrong: other users of inner values, dims of 1 and 0, operands the other way round, several
# dtypes. Where the rule fires, both models run, and must agree.

# %%
from graphopt.testing import RuleFailure, check_rule, prove

check_rule(scaled_product, on=["reference", "onnxruntime"])

# %% [markdown]
# To see that this means something, make a mistake. Here the scale is forgotten for the bias, in a rule for `(x @ w +
# b) * scale`:


# %%
@rule
def forgets_the_bias(x, w: Const["K N"], b: Const["N"], scale: Const["N"]):
    yield (op.MatMul(x, w) + b) * scale
    yield op.MatMul(x, w * scale) + b  # b * scale, it should be


try:
    check_rule(forgets_the_bias, on=["reference"])
except RuleFailure as failure:
    print(failure)
else:
    raise AssertionError("the mistake was not found")

# %% [markdown]
# The message holds the smallest model that was found on which the rule is wrong, as text that `onnx.parser` reads.
#
# ## Prove it
#
# Tests show the presence of bugs. `prove` looks for more: both sides are run on symbols instead of numbers, on small
# shapes, and compared as formulas over the reals.

# %%
proof = prove(scaled_product)
proof

# %%
assert proof.proved

# %%
refuted = prove(forgets_the_bias)
assert refuted.rung == "refuted"
refuted

# %% [markdown]
# ## Use it
#
# A model to try it on, in ONNX's text form, with weights drawn at random:

# %%
import numpy as np
import onnx

import graphopt

model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    layer (float[batch, 8] x, float[8, 4] w, float[4] scale, float[4] shift) => (float[batch, 4] y) {
        product = MatMul (x, w)
        scaled = Mul (scale, product)
        moved = Add (shift, scaled)
        y = Relu (moved)
    }
""")
rng = np.random.default_rng(0)
for v in list(model.graph.input)[1:]:
    dims = [d.dim_value for d in v.type.tensor_type.shape.dim]
    values = rng.normal(size=dims).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, v.name))
    model.graph.input.remove(v)

fast = graphopt.optimize(model, rules=[scaled_product], without="linear")
fast.report.step(1)

# %% [markdown]
# `rules=` are tried before the package's own. (`without="linear"` keeps the package's rules of that family out, which
# would have done the same.)

# %%
result = graphopt.verify(model, fast)
assert result
fast

# %% [markdown]
# When a rule does not fire, the report tells why. A guard declines by returning the reason:


# %%
@rule
def only_small(x, w: Const["K N"], scale: Const["N"], shift: Const["N"]):
    yield op.MatMul(x, w) * scale + shift
    if w.size > 16:
        return "the weight is large"
    yield op.MatMul(x, w * scale) + shift


declined = graphopt.optimize(model, rules=[only_small], only="only_small")
declined.report.refusals()

# %%
assert not declined.report.steps

# %% [markdown]
# ## Into a file
#
# Put rules into `my_rules.py`, and test them all on every commit:
#
# ```sh
# pytest --graphopt-rules=my_rules.py
# graphopt check-rule my_rules.py --prove
# ```
#
# The reference of the language is `docs/rules.md`: attributes, alternatives, optional inputs, several outputs,
# operators of your own.
