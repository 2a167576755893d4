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
# You have models, perhaps rules of your own, and want to know on every commit, and after every update of graphopt, that nothing
# broke. This notebook builds such a suite, runs it, and breaks it on purpose.
#
# ## Three properties
#
# 1. Every model of yours computes what it computed, and does not grow.
# 2. Every rule of yours is right, tested from its own declaration.
# 3. Random models that are made of your operators and your rules' left sides come out right too: what your models do not show today, they may tomorrow.
#
# In a project these are files. Here they go to a temporary folder: one model (the demo's detector), two rules, and the suite.

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

(project / "my_rules.py").write_text('''
from graphopt.rewrite import Const, op, rule


@rule
def scale_scale(x, a: Const[""], b: Const[""]):
    """Two factors without axes are one."""
    yield (x * a) * b
    yield x * (a * b)


@rule(exact=True)
def relu_of_abs(x):
    """What is not negative stays as it is."""
    yield op.Relu(op.Abs(x))
    yield op.Abs(x)


RULES = [scale_scale, relu_of_abs]
''')

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


@settings(max_examples=20, deadline=None)
@given(models())
def test_random_models(example):
    """So are all of them together, on models that nobody wrote."""
    assert_equivalent(example.model, graphopt.optimize(example.model, rules=RULES), example.feeds, on=["reference"])
'''
(project / "test_models.py").write_text(suite)


def run_suite():
    """pytest in the project; whether it passed."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    print(done.stdout[-2500:], done.stderr[-500:])
    return done.returncode == 0


assert run_suite()

# %% [markdown]
# ## Does it notice anything?
#
# A suite that cannot fail is none. So: a plausible mistake. Somebody generalises the first rule to factors of any shape, and forgets that two of
# them need not broadcast to each other the way they broadcast to `x`.

# %%
rules = (project / "my_rules.py").read_text()
wrong = rules.replace("yield x * (a * b)", "yield x * (a + b)")
assert wrong != rules
(project / "my_rules.py").write_text(wrong)
assert not run_suite()

# %% [markdown]
# (The mistake that went in is a cruder one: `a + b` for `a * b`.) The rule's own test fails, with the smallest model that shows it and what both sides give there. The
# model's test still passes: the detector has no such product. That is why the second property is there.

# %%
(project / "my_rules.py").write_text(rules)

# %% [markdown]
# ## Writing the smallest test yourself
#
# `assert_equivalent` compares any two models, and `models()` is a Hypothesis strategy like any other, so properties of your own are a few lines.
# For instance: optimising twice changes nothing more.

# %%
from hypothesis import given, settings

from graphopt.testing import models


@settings(max_examples=15, deadline=None, database=None)
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
# Rules alone need no file of tests: `pytest --graphopt-rules=my_rules.py`. And for an optimizer of your own, written with or without graphopt,
# there is `graphopt fuzz --optimizer module:function`.

# %%
import shutil

shutil.rmtree(project)
