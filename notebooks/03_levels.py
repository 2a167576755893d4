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
# # What each level does, to a detector and to a transformer
#
# | level | promise |
# | --- | --- |
# | 1 | exact: the same bits |
# | 2 | algebra and fusion into standard ONNX operators: the same up to rounding, runs anywhere |
# | 3 | for the runtime that you name: what it has the fastest kernels for |
#
# This notebook runs all three on two small networks, and walks through them phase by phase.

# %%
import numpy as np
import onnx
from onnx import helper, numpy_helper

import graphopt
from graphopt.demo import demo_model
from graphopt.view import plots

detector = demo_model()

# %% [markdown]
# The detector ships with the package. The transformer is one encoder layer, written here the way TorchScript exports
# it: layer normalisation in nine nodes, GELU in five, and shapes that are read off at run time.

# %%
WIDTH, HEADS = 32, 4
rng = np.random.default_rng(0)
nodes, weights = [], []


def put(op, *inputs, **attributes):
    """Add a node; the name of its output."""
    name = f"{op}_{len(nodes)}"
    nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
    return name


def number(value, dtype=np.float32):
    return put("Constant", value=numpy_helper.from_array(np.array(value, dtype)))


def weight(*dims):
    name = f"weight_{len(weights)}"
    weights.append(numpy_helper.from_array(rng.normal(0, dims[0] ** -0.5, dims).astype(np.float32), name))
    return name


def size(x, axis):
    return put("Unsqueeze", put("Gather", put("Shape", x), number(axis, np.int64)), number([0], np.int64))


def linear(x, a, b):
    return put("Add", put("MatMul", x, weight(a, b)), weight(b))


def normalized(x):
    centred = put("Sub", x, put("ReduceMean", x, axes=[-1]))
    variance = put("ReduceMean", put("Pow", centred, number(2)), axes=[-1])
    y = put("Div", centred, put("Sqrt", put("Add", variance, number(1e-5))))
    return put("Add", put("Mul", y, weight(WIDTH)), weight(WIDTH))


def heads(x, perm):
    shape = put("Concat", size(x, 0), size(x, 1), number([HEADS], np.int64), number([WIDTH // HEADS], np.int64), axis=0)
    return put("Transpose", put("Reshape", linear(x, WIDTH, WIDTH), shape), perm=perm)


def attention(x):
    q, k, v = heads(x, [0, 2, 1, 3]), heads(x, [0, 2, 3, 1]), heads(x, [0, 2, 1, 3])
    scores = put("Div", put("MatMul", q, k), number(np.sqrt(WIDTH / HEADS)))
    y = put("Transpose", put("MatMul", put("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    shape = put("Concat", size(y, 0), size(y, 1), number([WIDTH], np.int64), axis=0)
    return linear(put("Reshape", y, shape), WIDTH, WIDTH)


def perceptron(x):
    x = linear(x, WIDTH, 2 * WIDTH)
    erf = put("Erf", put("Div", x, number(np.sqrt(2))))
    return linear(put("Mul", put("Mul", x, put("Add", erf, number(1))), number(0.5)), 2 * WIDTH, WIDTH)


x = put("Identity", "tokens")
x = put("Add", x, attention(normalized(x)))
x = put("Add", x, perceptron(normalized(x)))
nodes.append(helper.make_node("Identity", [x], ["encoded"]))
shape = ["batch", "length", WIDTH]
interface = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in ("tokens", "encoded")]
graph = helper.make_graph(nodes, "encoder", interface[:1], interface[1:], weights)
transformer = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(transformer, full_check=True)
graphopt.load(transformer)

# %% [markdown]
# ## All levels side by side

# %%
LEVELS = {"level 1": {"level": 1}, "level 2": {"level": 2}, "level 3, onnxruntime": {"target": "onnxruntime"}}
MODELS = {"detector": detector, "transformer": transformer}

traces = {(m, name): graphopt.trace(MODELS[m], **how) for m in MODELS for name, how in LEVELS.items()}
for (m, name), trace in traces.items():
    print(
        f"{m:12s} {name:21s} {trace.report.nodes_before:4d} -> {trace.report.nodes_after:3d} nodes, {len(trace):3d} steps"
    )

# %% [markdown]
# `graphopt.trace` optimises as `graphopt.optimize` does, and can be walked through. Nodes left after each step:

# %%
from matplotlib import pyplot

figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
for ax, m in zip(axes, MODELS):
    for name in LEVELS:
        plots.nodes(traces[m, name], ax, label=name)
    ax.set_title(m)

# %% [markdown]
# ## Level 1: exact
#
# Nothing here rounds anywhere else than before: dead code, common subexpressions, constants folded, shapes computed
# in the shortest way.

# %%
traces["transformer", "level 1"]

# %%
result = graphopt.verify(transformer, traces["transformer", "level 1"].model, on="reference", rtol=0.0)
assert result, "level 1 changed a bit"
result

# %% [markdown]
# `rtol=0.0` asks for the same bits, on the reference kernels.
#
# ## Level 2: algebra and fusion
#
# The phases have a direction. *Raising* recognises what exporters have taken apart, and restores the operator:
# LayerNormalization, Gelu, HardSwish. *Simplifying* works on that form: a BatchNormalization disappears into the
# convolution before it. *Lowering* writes what runs best.

# %%
traces["detector", "level 2"]

# %%
traces["transformer", "level 2"]

# %% [markdown]
# The first time that each rule of the raising phase is applied to the transformer:

# %%
from IPython.display import display

seen = set()
for step in traces["transformer", "level 2"]:
    if (
        step.phase == "raising"
        and step.name in ("normalization", "gelu", "reshape_computed_shape")
        and step.name not in seen
    ):
        seen.add(step.name)
        display(step)

# %% [markdown]
# `step.model` is the whole model as it is after a step; it is made when you ask for it. Right after the first
# normalisation was found, around it:

# %%
from graphopt.view import draw

trace = traces["transformer", "level 2"]
step = next(s for s in trace if s.name == "normalization")
draw(step.model, around=step.after[-1].output, reach=2)

# %% [markdown]
# ## Level 3: for a runtime
#
# ONNX Runtime on this machine is asked which kernels it has. The opset is raised where that lets better operators be
# written (`Attention` exists from opset 23 on).

# %%
best = traces["transformer", "level 3, onnxruntime"].model
best.report

# %%
best

# %%
for m in MODELS:
    assert graphopt.verify(MODELS[m], traces[m, "level 2"].model)
    assert graphopt.verify(MODELS[m], traces[m, "level 3, onnxruntime"].model, on="onnxruntime")

# %% [markdown]
# Which level should you take? Level 3 with the runtime that you deploy to. Level 2 where you do not know it, or want
# one file for all. Level 1 where somebody compares bits.
