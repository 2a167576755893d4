"""`optimize`: what is done to a model, in which order; `rounds.py` has the rules and passes of one round."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from graphopt._gc import paused_gc
from graphopt.errors import ArgumentError, GraphoptError, OpsetError
from graphopt.exec.kernels.registry import kernel_for
from graphopt.fitting import needs_nothing_newer, preferred_opset, write_out_missing
from graphopt.ir import Model, load, newest_schema, origin_of
from graphopt.passes import COST, ConstantFolding
from graphopt.passes.constant_folding import DEFAULT_ALLOWANCE
from graphopt.passes.opset import convert_opset, targets_of
from graphopt.report import Report, Summary
from graphopt.rewrite import Ledger, Rule
from graphopt.rewrite.compile import compile_rule
from graphopt.rounds import Rounds
from graphopt.selection import Selection, names_in, phases_of
from graphopt.shapes import infer_model, operators_on_elements, pin_inputs, refuse_pins
from graphopt.targets import target_of

if TYPE_CHECKING:
    from graphopt.precision import Precision
    from graphopt.precision.lowering import Lowering

LEVELS = {
    0: "load and save",
    1: "exact: the same bits",
    2: "algebra and fusion into standard ONNX operators: the same up to rounding",
    3: "2, and the target's own operators",
}


#: The operator that depends on what lies around it: on how its inputs lead to another value of the graph.
GRADIENT = "ai.onnx.preview.training::Gradient"


def _load_tables() -> None:
    """Load what calls need: rules, shape functions, kernels, and onnx's schemas, which it registers when first asked."""
    import graphopt.ir.save  # noqa: F401 - what `Model.save` would import

    phases_of(2, Selection(), ())
    operators_on_elements()
    kernel_for("Identity", 1)
    newest_schema("Identity")


class VerificationError(GraphoptError):
    """The optimised model does not compute what the original computes."""


def optimize(
    model: Any,
    level: int | None = None,
    *,
    target: str = "onnx",
    without: str | Collection[str] = (),
    only: str | Collection[str] | None = None,
    rules: Sequence[Rule] = (),
    freeze_inputs: bool = False,
    input_shapes: Mapping[str, int | Sequence[int | None]] | None = None,
    opset: int | Mapping[str, int] | None = None,
    layout: str | None = None,
    io_layout: str | Mapping[str, str] | None = None,
    fold_allowance: int = DEFAULT_ALLOWANCE,
    steps: int | None = None,
    verify: bool = False,
    provenance: bool = False,
    precision: str | Precision | None = None,
    tune: float | None = None,
    tune_inputs: Mapping[str, Any] | None = None,
    tune_cache: str | PathLike[str] | None = None,
    tune_threads: int = 1,
) -> Model:
    """Optimise a model. What is passed in is never changed.

    Args:
        model: a path, bytes, `onnx.ModelProto`, `graphopt.Model`, `onnx_ir.Model` or torch `ONNXProgram`.
        level: 0 loads and saves; 1 is exact; 2 adds algebra and fusion into standard operators, equal up to rounding; 3 adds
            the target's own operators. None: 3 where a target is named, else 2.
        target: the runtime that the model is for, one of `graphopt.targets.TARGETS`. Rules write what it has kernels for;
            an operator that it lacks is written out as ONNX's function, where it has one.
        without: names of rules, rule families or passes to leave out (`graphopt rules` lists them).
        only: the names to run, nothing else. Dead code goes in any case where a rule leaves it.
        rules: rules of your own. They run before the package's in the first phase, and once more at the end.
        freeze_inputs: inputs that have an initializer become constants and leave the interface.
        input_shapes: {"x": (1, 3, 224, 224)} or {"batch": 1} fixes dims of the inputs.
        opset: write the model at this opset (a mapping gives one by domain, as {"": 23, "ai.onnx.ml": 3}); None: at its
            own, or the one that the target prefers, where that is higher. To a higher one it is raised first, so that
            rules may use what is new there. To a lower one it is led when it has been simplified, since parameters have
            to be known then that many exporters compute; what operators that do not exist there are written out as is
            simplified once more.
        layout: 'NHWC' writes convolutions and what is around them with channels last, as some executors prefer it (model-local
            functions with bodies of ONNX's own operators); 'NCHW' brings what lies between Transposes to channels first.
            None: as it is.
        io_layout: changes inputs and outputs themselves: {"image": "NHWC"} brings the second dim of one to the end, 'NCHW' the
            last one to the second place. One of these alone: for all that have four dims. `input_shapes` are those before.
        fold_allowance: bytes by which constant folding may make the model larger in all.
        steps: stop after so many rewrites, of rules and passes together (`graphopt.bisect` looks for the one at fault).
        verify: compare the result with the original (`graphopt.verify`) and raise where they differ.
        provenance: note in the metadata of each new node which rules made it (`graphopt.rules`) and which nodes it stands for
            (`graphopt.nodes`), as Netron and others show it. Nothing that a runtime reads changes, nor the IR version.
        precision: "fp16", "bf16", "int8-dynamic" or "int4-weights" (`graphopt.Precision` for more choices): convert what the
            level made of the model, and apply the level's rules to that once more. Values change by that;
            `.report.precision` says how far, measured.
        tune: seconds to measure candidates on the target's runtime, on this machine. The fastest is returned, which may be
            the model as it was; `.report.tuning` says what was measured.
        tune_inputs: what to measure with; None: inputs of usual sizes are made up.
        tune_cache: a file that keeps what was learnt; where it knows the model's structure, nothing is measured.
        tune_threads: of the sessions that are measured.

    Returns:
        The optimised model; `.report` says what was done.

    Raises:
        ModelError: the model cannot be read or is not valid.
        ArgumentError: an argument makes no sense; the message says what would.
        OpsetError: a node cannot be written at `opset`.
        RewriteLoopError, RuleError: a rule from `rules` is wrong.
        VerificationError: `verify` was asked for and the outputs differ.
        MissingDependencyError: what knows the target's kernels, or converts to a precision, is not installed.
    """
    runtime = target_of(target)
    if level is None:
        level = default_level(target)
    if not isinstance(level, int) or isinstance(level, bool) or level not in LEVELS:
        raise ArgumentError(
            f"level {level!r} does not exist; the levels are {', '.join(f'{k} ({v})' for k, v in LEVELS.items())}"
        )
    if not isinstance(fold_allowance, int) or fold_allowance < 0:
        raise ArgumentError(f"fold_allowance must be a number of bytes, 0 or more, not {fold_allowance!r}")
    if steps is not None and (not isinstance(steps, int) or steps < 0):
        raise ArgumentError(f"steps must be a number of rewrites, 0 or more, not {steps!r}")
    selection = Selection(None if only is None else names_in(only, rules, "only"), names_in(without, rules, "without"))
    versions = {} if opset is None else targets_of(opset)
    if tune is not None:
        if steps is not None or not level or precision is not None or layout is not None or io_layout:
            raise ArgumentError("tune goes with a level above 0, and not with steps, precision, layout or io_layout")
        from graphopt.tuning import tune as tuned

        arguments = {
            "target": target, "without": without, "only": only, "rules": rules, "freeze_inputs": freeze_inputs,
            "input_shapes": input_shapes, "opset": opset, "fold_allowance": fold_allowance,
        }  # fmt: skip
        m = tuned(model, tune, level, arguments, inputs=tune_inputs, cache=tune_cache, threads=tune_threads)
        if provenance:
            _note_provenance(m)
        if verify:
            _verify(model, m, bool(freeze_inputs or input_shapes))
        return m
    kernels = runtime.kernels() if level > 0 else None
    own = tuple(r for r in rules if selection.takes(r))
    lowering = None if precision is None else _lowering(model, precision, verify, freeze_inputs, input_shapes)
    if layout is not None:
        from graphopt.passes.layout import check  # few ask for it

        check(layout)
    with paused_gc():
        m = load(model)
        origin = origin_of(m)
        started = time.perf_counter()
        ledger = Ledger(limit=steps)
        notes: list[str] = []
        for r in own:
            compile_rule(r)
        rounds = Rounds(
            selection,
            level == 1,
            phases_of(level, selection, own, runtime.phases if level > 2 else ()) if level > 0 else [],
            ConstantFolding(fold_allowance, exact=level == 1) if "constant_folding" in selection else None,
            kernels,
            runtime.machine if kernels is not None and COST in selection else None,
            ledger,
        )
        before = Summary.of(m)
        _prepare_interface(m, freeze_inputs, input_shapes, io_layout, notes)
        higher = {d: v for d, v in versions.items() if v >= m.opsets.get(d, 0)}
        lower = {d: v for d, v in versions.items() if d not in higher}
        _convert(m, higher, notes)
        if not versions and runtime.newest is not None and m.opsets.get("", 0) > runtime.newest:
            lower[""] = runtime.newest
        opset_before, ir_before = m.opsets.get("", 0), m.ir_version
        raised: list[str] = []
        if kernels is not None and not versions and (preferred := preferred_opset(m, runtime, kernels)):
            try:
                _convert(m, preferred, raised)
            except OpsetError as e:
                notes.append(f"the model stays at its opset: {e}")
                m = load(model)
                _prepare_interface(m, freeze_inputs, input_shapes, io_layout, [])
        if level > 0 and any(n.op == GRADIENT for n in m.nodes()):
            notes.append("the model differentiates a part of itself (Gradient), which names its values: left as it is")
        elif level > 0 and not ledger.full:
            facts = infer_model(m)
            if input_shapes and facts.refused:
                refuse_pins(facts, infer_model(load(model)))
            if kernels is not None:
                write_out_missing(m, runtime, kernels, notes)
            rounds.run(m)
            if _convert(m, lower, notes):
                rounds.run_again(m)
            lower = {}
        _convert(m, lower, notes)
        if lowering is not None:
            m = lowering.lower(m)
            rounds.run_again(m)
        if raised and kernels is not None and needs_nothing_newer(m, opset_before, kernels):
            convert_opset(m, {"": opset_before})
            m.ir_version = ir_before
        else:
            notes += raised
        if layout is not None and "layout" in selection and not ledger.full:
            rounds.lay(m, layout)
        if level > 2 and runtime.hands_in:
            rounds.localize(m)
        if m.facts is not None:
            ledger.warnings += [f"shapes: {c}" for c in m.facts.conflicts]
        m.report = Report(
            level, before, Summary.of(m), ledger, time.perf_counter() - started, notes,
            target=target, rules=own, origin=origin, result=m,
        )  # fmt: skip
        if provenance:
            _note_provenance(m)
    if lowering is not None:
        m.report.precision = lowering.report(m)
    if verify:
        _verify(model, m, bool(freeze_inputs or input_shapes or io_layout))
    return m


def default_level(target: str) -> int:
    """The level where none is asked for: 3 has more than 2 only for a certain target."""
    return 2 if target == "onnx" else 3


def _lowering(
    model: Any, precision: str | Precision, verify: bool, freeze_inputs: bool, input_shapes: Mapping[str, Any] | None
) -> Lowering:
    from graphopt.precision.lowering import Lowering

    if verify:
        raise ArgumentError(
            "verify=True asks for equal outputs, and precision= changes them; .report.precision says by how much"
        )
    return Lowering(precision, model, freeze_inputs=freeze_inputs, input_shapes=input_shapes)


def _note_provenance(m: Model) -> None:
    from graphopt.rewrite.provenance import METADATA_IR, note_provenance  # few ask for it

    assert m.report is not None
    if note_provenance(m, m.report.steps) and m.ir_version < METADATA_IR:
        m.report.notes.append(
            f"the model has IR version {m.ir_version}, and nodes have metadata from {METADATA_IR} on: "
            "readers of older versions skip the provenance"
        )


def _convert(m: Model, targets: dict[str, int], notes: list[str]) -> bool:
    """Write the model at other opsets; whether it was at others."""
    done = convert_opset(m, targets)
    if done is not None:
        notes.append(str(done))
    return done is not None


def _prepare_interface(
    m: Model,
    freeze_inputs: bool,
    input_shapes: Mapping[str, Any] | None,
    io_layout: str | Mapping[str, str] | None,
    notes: list[str],
) -> None:
    if freeze_inputs:
        frozen = m.freeze_inputs()
        if frozen:
            notes.append(f"{len(frozen)} inputs with an initializer became constants")
    elif overridable := sum(v in m.graph.initializers for v in m.graph.inputs):
        notes.append(
            f"{overridable} initializers are inputs too, so callers may override them, and nothing is folded into them; "
            "freeze_inputs=True (--freeze-inputs) makes them constants"
        )
    if input_shapes:
        pin_inputs(m, input_shapes)
    if io_layout:
        from graphopt.passes.layout import change_interface  # few ask for it

        changed = change_interface(m, io_layout)
        notes.append(f"other layouts: {', '.join(changed) or 'none, since nothing has four dims'}")


def _verify(original: Any, m: Model, changed_interface: bool) -> None:
    from graphopt.verification import verify

    if changed_interface:
        raise ArgumentError(
            "verify=True compares models with one interface, and freeze_inputs, input_shapes and io_layout change it; "
            "call graphopt.verify"
        )
    result = verify(original, m)
    if result.verdict in ("different", "interface differs", "failed"):
        raise VerificationError(f"the optimised model is not equal to the original: {result.verdict}\n{result}")
    if not result.ok:
        assert m.report is not None
        m.report.notes.append(f"verification was inconclusive: {str(result).splitlines()[0]}")


with paused_gc():
    _load_tables()
