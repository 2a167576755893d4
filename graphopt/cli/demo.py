"""`graphopt demo`."""

from __future__ import annotations

from graphopt.cli import options
from graphopt.cli.output import code_of, err, out, show_report, show_verification


def demo(json: options.Json = False) -> int:
    """Optimize a small detector that is built in memory, verify it, and show what changed. Needs no file."""
    import graphopt
    from graphopt.demo import demo_model

    screen = out()
    with err().working("optimizing the demo model"):
        model = demo_model()
        optimized = graphopt.optimize(model, 2)
    assert optimized.report is not None
    if json:
        result = graphopt.verify(model, optimized, seeds=2, sizes=1)
        screen.json({**optimized.report.to_dict(), "verification": result.to_dict()})
        return code_of(result)
    screen.line("A small detector, written down the way exporters do, optimized at level 2\n", "bold")
    show_report(screen, optimized.report)
    screen.line()
    with err().working("comparing the outputs"):
        result = graphopt.verify(model, optimized, seeds=2, sizes=1)
    show_verification(screen, result)
    screen.line("\nNext, with a model of yours:", "bold")
    screen.line("  graphopt optimize model.onnx --verify   writes model.opt.onnx beside it")
    screen.line("  graphopt explain model.onnx             tells every step and why it is right")
    screen.line("  graphopt rules                          lists all rules as equations")
    return code_of(result)
