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
# # Comparing with the peers, on your model
#
# There are other optimizers for ONNX. Which one does most for *your* model, and does it stay the same model? This
# notebook asks all that are installed: nodes, whether the outputs and the interface are still those of the original,
# time to optimise, and time to run under ONNX Runtime.
#
# Put the path of your model in the place of `demo_model()`.

# %%
import importlib.util
import statistics
import time

import onnx

import graphopt
from graphopt.demo import demo_model
from graphopt.testing import peers
from graphopt.view import plots

model = demo_model()  # or onnx.load("model.onnx")

# %% [markdown]
# `graphopt.testing.peers` has each of them as a function from model to model, with the options that they have by
# default. What is not installed is left out, and named:

# %%
PEERS = {
    "onnxsim": peers.onnxsim,
    "onnxslim": peers.onnxslim,
    "onnxoptimizer": peers.onnxoptimizer,
    "onnxscript": peers.onnxscript,
}
OPTIMIZERS = {
    "graphopt, level 2": lambda m: graphopt.optimize(m).proto,
    "graphopt, for onnxruntime": lambda m: graphopt.optimize(m, target="onnxruntime").proto,
    "onnxruntime, offline": peers.onnxruntime_basic,
}
for name, function in PEERS.items():
    if importlib.util.find_spec(name) is None:
        print(f"left out: {name} is not installed; pip install {name}")
    else:
        OPTIMIZERS[name] = function

# %% [markdown]
# ## Nodes, and is it still the same?

# %%
made, failed = {"as it is": model}, {}
for name, optimizer in OPTIMIZERS.items():
    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # some change what they are given
    started = time.perf_counter()
    try:
        made[name] = optimizer(copy)
    except Exception as e:
        failed[name] = f"{type(e).__name__}: {e}"
        continue
    taken = time.perf_counter() - started
    verdict = graphopt.verify(model, made[name], on="onnxruntime").verdict
    nodes = graphopt.load(made[name]).node_count()
    print(f"{name:27s} {nodes:4d} nodes  {taken:6.2f} s  {verdict}")
for name, why in failed.items():
    print(f"{name:27s} failed: {why}")

# %% [markdown]
# *interface differs* means that inputs, outputs or their declared types and dims are not those of the original any
# more, so that a caller might notice.

# %%
counts = {name: graphopt.load(m).node_count() for name, m in made.items()}
assert counts["graphopt, level 2"] < counts["as it is"]
axes = plots.bars(counts, what="nodes, Constants apart")
# %% [markdown]
# ## Time
#
# Fewer nodes are a means. What counts is how long a run takes, with all the optimizations that the runtime does
# itself. Times on a machine that does other things as well are noisy; so the models take turns, and what is reported
# is the median of the ratios to the original in the same turn.

# %%
import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 3
feeds = {"image": np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)}


def session(m):
    return onnxruntime.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"])


sessions = {name: session(m) for name, m in made.items()}
ratios = {name: [] for name in sessions}
for turn in range(60):
    times = {}
    for name, s in sessions.items():
        started = time.perf_counter()
        s.run(None, feeds)
        times[name] = time.perf_counter() - started
    if turn >= 10:  # the first ones warm up
        for name, t in times.items():
            ratios[name].append(t / times["as it is"])

medians = {name: statistics.median(r) for name, r in ratios.items()}
axes = plots.bars(medians, what="time of a run over the original's, one thread (median of 50 turns)")

# %% [markdown]
# Two sessions of the very same model can differ by a few percent, by where their memory happens to lie. Before you
# believe a small difference, open the sessions anew and measure again. `python -m benchmarks.latency` in the
# repository does that, over many models; `graphopt.optimize(model, tune=60)` measures for you what else could have
# been decided, and keeps what is faster.
#
# ## Random models
#
# One model says little about an optimizer. `graphopt fuzz` asks thousands that nobody wrote, any optimizer with the
# same ones:
#
# ```sh
# graphopt fuzz --seeds 1000 --level 2
# graphopt fuzz --seeds 1000 --optimizer graphopt.testing.peers:onnxslim
# ```
#
# `docs/testing.md` has the table of what came out.
