"""From a pattern to the source of a Python function that yields its bindings, lazily and in a fixed order.

Operators are compared as interned strings, each operand order or alternative is a loop, and a failed test continues the
innermost loop, so the source reads like the search that it is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

from graphopt.errors import RuleError
from graphopt.ir import any_number
from graphopt.rewrite import matching
from graphopt.rewrite.outline import bag_of, call_of, commutes
from graphopt.rewrite.rule import Rule, Variant
from graphopt.rewrite.terms import Call, Output, Rest, Term, Var


class Generator:
    """Writes the function that matches one variant of a rule."""

    def __init__(self, rule: Rule, variant: Variant) -> None:
        self.rule = rule
        self.variant = variant
        self.walker = variant.walker
        self.calls = {id(c): i for i, c in enumerate(variant.calls)}
        self.lines: list[str] = []
        self.depth = 1
        self.bound: dict[str, str] = {}
        self.matched: dict[int, str] = {}
        self.producers: dict[str, str] = {}
        self.present: set[str] = set()  # values that are not left out
        self.inner: list[str] = []
        self.counter = 0
        self.source = ""
        self.namespace: dict[str, Any] = {**vars(matching), "permutations": permutations}

    # ------------------------------------------------------------------ output
    def matcher(self) -> Callable[..., Any]:
        """The function that matches. Raises RuleError where the pattern is none."""
        root = call_of(self.variant.roots[0])
        self.line("g = n0.graph")
        self.call(root, "n0")
        for r in self.variant.roots[1:]:
            self.other_root(call_of(r))
        dims = self._dims()
        values = []
        for name, kind in self.rule.kinds.items():
            if kind.role == "dim":
                values.append(f"d.get({name!r})")
            elif name in self.bound:
                values.append(self.bound[name])
            else:
                values.append({"variadic": "()", "attrs": "{}"}.get(kind.role, "None"))
        if dims or any(k.role == "dim" for k in self.rule.kinds.values()):
            self.line(f"d = dims_match(({''.join(dims)}))")
            self.line(f"if d is None: {self.fail}")
        nodes = "".join(self.matched.get(id(c), "None") + "," for c in self.variant.calls)
        inner = "".join(f"*{i}," for i in self.inner)
        self.line(f"yield ({''.join(v + ',' for v in values)}), ({nodes}), ({inner})")
        self.source = "def match(n0):\n" + "\n".join(self.lines) + "\n"
        exec(compile(self.source, f"<pattern of {self.rule.name}>", "exec"), self.namespace)
        match: Callable[..., Any] = self.namespace["match"]
        return match

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def loop(self, text: str) -> None:
        self.line(text)
        self.depth += 1

    @property
    def fail(self) -> str:
        return "return" if self.depth == 1 else "continue"

    def fresh(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def literal(self, value: Any) -> str:
        if isinstance(value, (int, float, str, bool)) and value == value and value not in (float("inf"), float("-inf")):
            return repr(value)
        name = self.fresh("k")
        self.namespace[name] = value
        return name

    # ------------------------------------------------------------------- calls
    def call(self, call: Call, node: str) -> None:
        """Test that `node`, whose operator has been compared already, matches `call`."""
        self.matched[id(call)] = node
        args = bag_of(call, self.rule, self.variant, self.matched)
        if args is not None:
            leaves, between = self.fresh("b"), self.fresh("m")
            self.loop(f"for {leaves}, {between} in bags({node}, {call.op!r}, {len(args)}, g):")
            self.inner.append(between)
            names = [self.fresh("v") for _ in args]
            self.present.update(names)
            self.loop(f"for {', '.join(names)} in permutations({leaves}):")
            self.arguments(list(zip(args, names, strict=True)), leaves)
            return
        if any_number(call.op_type, call.domain)[1]:  # what Split computes depends on how many outputs it has
            self.line(f"if len({node}.outputs) != {call.outputs}: {self.fail}")
        positional = len(call.args)
        if call.args and isinstance(call.args[-1], Rest):
            self.variadic(call, node)
            return
        plain = not call.attrs
        args = [self.walker.resolve(a) for a in call.args]
        names = [self.fresh("v") for _ in args]
        whole = not any(a is None or (isinstance(a, Var) and a.kind.optional) for a in args)
        if whole:
            self.present.update(names)
        if commutes(call):
            if not plain:
                self.parameters(call, node, str(positional))
            self.loop(f"for {', '.join(names)} in orders({node}, {plain}, {whole}):")
        elif args:
            found = f"operands({node}, {positional}, {plain}, {whole})"
            if plain or whole:
                inputs = self.fresh("i")
                self.line(f"if ({inputs} := {found}) is None: {self.fail}")
                found = inputs
            self.line(f"{', '.join(names)}, = {found}")
            if not plain:
                looked = set(self.matched)  # a look at a producer's operator is cheaper than one at parameters
                for arg, value in zip(args, names, strict=True):
                    if isinstance(arg, (Call, Output)) and id(call_of(arg)) not in looked:
                        looked.add(id(call_of(arg)))
                        self.producer(arg, value)
                self.parameters(call, node, str(positional))
        elif plain:
            self.line(f"if operands({node}, 0, True, False) is None: {self.fail}")
        else:
            self.parameters(call, node, str(positional))
        self.arguments(list(zip(args, names, strict=True)), f"{node}.inputs")

    def variadic(self, call: Call, node: str) -> None:
        """The same for a call that takes all remaining inputs."""
        inputs = self.fresh("i")
        self.line(f"{inputs} = {node}.inputs")
        self.line(f"if len({inputs}) < {len(call.args) - 1} or None in {inputs}: {self.fail}")
        self.parameters(call, node, f"len({inputs})")
        pairs = []
        for k, a in enumerate(call.args):
            if isinstance(a, Rest):
                if a.var.kind.role != "variadic":
                    raise RuleError(
                        f"rule '{self.rule.name}': '{a.var.name}' is no variadic parameter; write *{a.var.name}"
                    )
                self.bind(a.var, f"tuple({inputs}[{k}:])")
                continue
            name = self.fresh("v")
            self.line(f"{name} = {inputs}[{k}] if len({inputs}) > {k} else None")
            pairs.append((a, name))
        self.arguments(pairs, inputs)

    def arguments(self, pairs: list[tuple[Any, str]], operands: str) -> None:
        """Match arguments against values, the cheapest tests first."""
        pairs = [(self.walker.resolve(a), v) for a, v in pairs]
        for a, v in sorted(pairs, key=lambda p: self._effort(p[0])):
            self.argument(a, v, operands)

    def argument(self, arg: Any, value: str, operands: str) -> None:
        if arg is None:
            self.line(f"if {value} is not None: {self.fail}")
        elif isinstance(arg, Var):
            self.variable(arg, value)
        elif isinstance(arg, (Call, Output)):
            call, index = (arg.call, arg.index) if isinstance(arg, Output) else (arg, 0)
            if id(call) in self.matched:
                self.line(
                    f"if {value} is None or {value}.node is not {self.matched[id(call)]} or {value}.index != {index}: {self.fail}"
                )
                return
            if value not in self.producers:
                self.producer(arg, value)
            self.call(call, self.producers[value])
        elif isinstance(arg, (bool, int, float)):
            self.line(f"if not is_number({value}, {self.literal(arg)}, {operands}, {self.rule.exact}): {self.fail}")
        elif isinstance(arg, Term):
            raise RuleError(f"rule '{self.rule.name}': {arg!r} cannot stand here in a pattern")
        else:
            self.line(f"if not is_array({value}, {self.literal(arg)}): {self.fail}")

    def producer(self, arg: Call | Output, value: str) -> None:
        """Test that a value comes from a node of the call's operator."""
        call, index = (arg.call, arg.index) if isinstance(arg, Output) else (arg, 0)
        n = self.producers[value] = f"n{self.calls[id(call)]}"
        self.line(f"if ({n} := producer({value}, {call.op!r}, {index}, g)) is None: {self.fail}")

    def variable(self, var: Var, value: str) -> None:
        kind = var.kind
        if kind.role not in ("tensor", "const"):
            raise RuleError(
                f"rule '{self.rule.name}': '{var.name}' is annotated as {kind.role} but stands for a tensor in the pattern"
            )
        if var.name in self.bound:
            self.line(f"if {value} is not {self.bound[var.name]}: {self.fail}")
            return
        if kind.role == "const" and kind.fill is not None:
            self.line(f"if not is_filled({value}, {self.literal(kind.fill)}): {self.fail}")
        elif kind.role == "const":
            missing = f"{value} is not None and " if kind.optional else f"{value} is None or "
            self.line(f"if {'' if value in self.present else missing}{value}.const is None: {self.fail}")
        elif not kind.optional and value not in self.present:
            self.line(f"if {value} is None: {self.fail}")
        self.bound[var.name] = value

    def bind(self, var: Var, value: str) -> None:
        name = f"p_{var.name}"
        self.line(f"{name} = {value}")
        self.bound[var.name] = name

    # -------------------------------------------------------------- parameters
    def parameters(self, call: Call, node: str, positional: str) -> None:
        rest = next((v for k, v in call.attrs.items() if k.startswith("**")), None)
        named = {k: v for k, v in call.attrs.items() if not k.startswith("**")}
        if not named and rest is None:
            self.line(f"if {node}.attributes and not plain({node}, {positional}): {self.fail}")
            return
        kinds = tuple(self.kind_of(wanted) for wanted in named.values())
        found = self.fresh("a")
        call_text = f"attributes({node}, {positional}, {tuple(named)!r}, {kinds!r}, {rest is not None})"
        self.line(f"if ({found} := {call_text}) is None: {self.fail}")
        for k, wanted in enumerate(named.values()):
            value = f"{found}[{k}]"
            if not isinstance(wanted, Var):
                self.line(f"if not same_attribute({value}, {self.literal(wanted)}): {self.fail}")
            elif wanted.name in self.bound:
                self.line(f"if {value} != {self.bound[wanted.name]}: {self.fail}")
            else:
                self.bound[wanted.name] = value
        if rest is not None:
            if not isinstance(rest, Var) or rest.kind.role != "attrs":
                raise RuleError(f"rule '{self.rule.name}': {rest!r} stands for attributes; annotate it Attrs")
            self.bound[rest.name] = f"{found}[-1]"

    def kind_of(self, wanted: Any) -> str:
        """What an attribute must be, with a question mark where it may be left out; '' where a value stands in the rule."""
        if not isinstance(wanted, Var):
            if isinstance(wanted, Term):
                raise RuleError(
                    f"rule '{self.rule.name}': an attribute must be a variable or a plain value, not {wanted!r}"
                )
            return ""
        if wanted.kind.role != "attr":
            hint = "annotate it Int, Ints, Float, Str, Axis or Perm"
            raise RuleError(f"rule '{self.rule.name}': '{wanted.name}' stands for an attribute; {hint}")
        return wanted.kind.attr + ("?" if wanted.kind.optional else "")

    # ------------------------------------------------------------- other roots
    def other_root(self, root: Call) -> None:
        """Find another root from the users of something bound, never by looking through the graph."""
        if id(root) in self.matched:
            return
        path = self._path_to_bound(root)
        if path is None:
            raise RuleError(
                f"rule '{self.rule.name}': the replaced outputs share no variable, so one cannot be found from the other"
            )
        anchor, chain = path
        for call, index in reversed(chain):
            n = f"n{self.calls[id(call)]}"
            self.line(f"if {anchor} is None: {self.fail}")
            self.loop(f"for {n} in list({anchor}.uses):")
            taken = "".join(f" or {n} is {m}" for c, m in self.matched.items() if c != id(call))
            self.line(f"if {n}.op != {call.op!r} or {n}.graph is not g{taken}: continue")
            self.call(call, n)
            anchor = f"{n}.outputs[{index}]"

    def _path_to_bound(self, call: Call, index: int = 0) -> tuple[str, list[tuple[Call, int]]] | None:
        """Something bound that the call reads, and the calls on the way to it, each with the output that is read."""
        for a in call.args:
            a = self.walker.resolve(a)
            if isinstance(a, Var) and a.name in self.bound and a.kind.role == "tensor":
                return self.bound[a.name], [(call, index)]
            inner = call_of(a) if isinstance(a, (Call, Output)) else None
            if inner is not None and id(inner) in self.matched:
                output = a.index if isinstance(a, Output) else 0
                return f"{self.matched[id(inner)]}.outputs[{output}]", [(call, index)]
        for a in call.args:
            a = self.walker.resolve(a)
            if isinstance(a, (Call, Output)):
                found = self._path_to_bound(call_of(a), a.index if isinstance(a, Output) else 0)
                if found is not None:
                    return found[0], [(call, index), *found[1]]
        return None

    # ----------------------------------------------------------------- helpers
    def _effort(self, arg: Any) -> int:
        if arg is None or (isinstance(arg, (Call, Output)) and id(call_of(arg)) in self.matched):
            return 0
        if isinstance(arg, Var):
            return 0 if arg.name in self.bound else 2 if arg.kind.role == "const" else 4
        return 3 if isinstance(arg, (Call, Output)) else 1

    def _dims(self) -> list[str]:
        out = []
        for name, kind in self.rule.kinds.items():
            if kind.dims is not None and name in self.bound:
                out.append(f"({self.bound[name]}, {kind.dims!r}),")
        return out
