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
# # A property-based regression suite for your own models
#
# You have models, perhaps rules of your own, and want to know on every commit, and after every update of graphopt,
# that nothing broke. This notebook builds such a suite, runs it, and sees it find a mistake.
#
# ## Three properties
#
# 1. Every model of yours computes what it computed, and does not grow.
# 2. Every rule of yours is right, tested from its own declaration.
# 3. Random models, made of all operators and of rules' left sides, come out right too: what your models do not show today,
#    they may tomorrow.
#
# In a project these are files. Here they go to a temporary folder: one model (the demo's detector), two rules, and
# the suite.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

import graphopt
from graphopt.demo import demo_model

project = Path(tempfile.mkdtemp())
(project / "models").mkdir()
graphopt.load(demo_model()).save(project / "models" / "detector.onnx")

rules = '''
from graphopt.rewrite import op, rule


@rule
def logistic(x):
    """The logistic function, written out."""
    yield 1 / (1 + op.Exp(-x))
    yield op.Sigmoid(x)


@rule(exact=True)
def relu_of_abs(x):
    """What is not negative stays as it is."""
    yield op.Relu(op.Abs(x))
    yield op.Abs(x)


RULES = [logistic, relu_of_abs]
'''
(project / "my_rules.py").write_text(rules)

# %% [markdown]
# The suite:

# %%
suite = '''
from pathlib import Path

import pytest
from hypothesis import given, settings

import graphopt
from graphopt.testing import QUICK, assert_equivalent, check_rule, models
from my_rules import RULES

MODELS = sorted((Path(__file__).parent / "models").glob("*.onnx"))


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_model(path):
    """Every model computes what it computed, and does not grow."""
    fast = graphopt.optimize(path, rules=RULES)
    assert_equivalent(path, fast)
    assert fast.node_count() <= graphopt.load(path).node_count()


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_rule(rule):
    """Every rule is right: NIGHTLY instead of QUICK draws ten times as many models."""
    check_rule(rule, QUICK, on=["reference"])


@settings(max_examples=6, deadline=None)
@given(models())
def test_random_models(example):
    """So are all of them together, on models that nobody wrote."""
    assert_equivalent(example.model, graphopt.optimize(example.model, rules=RULES), example.feeds, on=["reference"])
'''
(project / "test_models.py").write_text(suite)
print(*sorted(str(p.relative_to(project)) for p in project.rglob("*.*")), sep="\n")


def run_suite(*options):
    """pytest in the project; whether it passed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "--color=no",
    ]
    done = subprocess.run([*command, *options], cwd=project, capture_output=True, text=True)
    print(done.stdout[-3000:], done.stderr[-500:])
    return done.returncode == 0


# %% [markdown]
# ## The first run
#
# The rules first. Both look so plain that testing them seems a waste of time.

# %%
assert not run_suite("-k", "test_rule")

# %% [markdown]
# One of them is wrong. An absolute value is never negative, except one: in two's complement the smallest integer has
# no positive counterpart, so its `Abs` is itself. Relu makes 0 of it, and the rule took that Relu away. The test drew
# such a number because it draws the ends of every range.
#
# Nobody would have met that in a network. But the rule says `exact=True`, "every bit", and so it has to say for which
# types:

# %%
guarded = rules.replace(
    "    yield op.Abs(x)\n",
    "    if x.dtype not in (TensorProto.FLOAT, TensorProto.DOUBLE):\n"
    '        return "the smallest integer has no absolute value"\n'
    "    yield op.Abs(x)\n",
)
assert guarded != rules
(project / "my_rules.py").write_text("from onnx import TensorProto\n" + guarded)
assert run_suite()

# %% [markdown]
# Now all of it passes: the model, both rules, and the random models.
#
# ## Does it notice a mistake in a rule that your models don't use?
#
# The detector has no `Relu(Abs(x))`, so its own test passed all the time: that is why the second property is there.
# And a rule that fires only in company, on the result of another one, is what the third is for.

# %% [markdown]
# ## Writing the smallest test yourself
#
# `assert_equivalent` compares any two models, and `models()` is a Hypothesis strategy like any other, so properties
# of your own are a few lines. For instance: optimising twice changes nothing more.

# %%
from hypothesis import given, settings

from graphopt.testing import models


@settings(max_examples=8, deadline=None, database=None)
@given(models())
def test_optimizing_again_saves_nothing(example):
    once = graphopt.optimize(example.model)
    again = graphopt.optimize(once)
    assert again.node_count() == once.node_count(), again.report


test_optimizing_again_saves_nothing()

# %% [markdown]
# ## In CI
#
# ```yaml
# - run: pip install "graphopt[testing,ort]" pytest
# - run: pytest test_models.py
# ```
#
# Rules alone need no file of tests: `pytest --graphopt-rules=my_rules.py`. And for an optimizer of your own, written
# with or without graphopt, there is `graphopt fuzz --optimizer module:function`.

# %%
import shutil

shutil.rmtree(project)
