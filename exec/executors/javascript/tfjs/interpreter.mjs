// Runs the steps that tfjs_model.py writes, on one model at a time. An operator is an entry of a table:
//
//   Name: (inputs, attributes, step) => tensor or [tensors]      inputs that are left out are undefined
//   Name: { run: the same, refuses: (attributes, step) => why it cannot be expressed, or nothing }
//
// What an operator makes besides its outputs is gone when it returns (tf.tidy).

import { bytes, elements } from '../message.mjs';
import { Lacks, arrayOf } from './host.mjs';

const KINDS = { float32: 'float32', int32: 'int32', bool: 'bool' };

/** What answers {ask: 'operators' | 'load' | 'run' | 'memory'}. */
export function interpreter(tf, table) {
  let model;

  function load(program, buffers) {
    for (const t of model?.held ?? []) t.dispose();
    model = undefined;
    const refused = [];
    const held = [];
    const constants = program.constants.map(({ type, dims }, i) => () => {
      const t = tf.tensor(elements(type, buffers[i]), dims, KINDS[type]);
      held.push(t);
      return t;
    });
    const plan = prepared(program, constants, held, refused);
    if (refused.length) {
      for (const t of held) t.dispose();
    } else {
      const defaults = new Map(program.defaults.map(([name, place]) => [name, constants[place]()]));
      model = { plan, held, names: program.names, defaults };
    }
    constants.length = buffers.length = 0; // closures see them: what came in would stay
    return [{ refused }, []];
  }

  /** A plan with its constants as tensors and its steps as objects that operators are called with. */
  function prepared(program, constants, held, refused) {
    const fixed = new Map(program.places.map(([slot, [place, type]]) => [slot, { tensor: constants[place](), type }]));
    const readers = new Map(); // of slots
    const read = (slot) => readers.set(slot, (readers.get(slot) ?? 0) + 1);
    for (const s of program.steps) {
      s.inputs.forEach(read);
      for (const body of Object.values(s.bodies)) body.captured.forEach(read);
    }
    program.outputs.forEach(read);
    const steps = program.steps.map((s) => {
      const entry = table[s.op];
      const step = {
        ...s,
        attributes: numbers(s.attributes),
        run: entry?.run ?? entry,
        type: (i) => fixed.get(s.inputs[i])?.type, // in ONNX, of a constant
        constant: (i) => fixed.get(s.inputs[i])?.tensor,
        alone: (i) => readers.get(s.inputs[i]) === 1,
        once: (positions, make) => once(step, positions, make, held),
      };
      for (const [name, body] of Object.entries(s.bodies)) {
        const inner = prepared(body.plan, constants, held, refused);
        step[name] = (inputs, slots) => run(inner, [...inputs, ...body.captured.map((slot) => slots[slot])].map((t) => t?.clone()));
      }
      const why = entry ? entry.refuses?.(step.attributes, step) : 'there is no such operator here';
      if (why) refused.push({ node: s.node, op: s.op, why });
      return step;
    });
    return { ...program, fixed, steps };
  }

  /** What `make` gives, tensors, made once and kept where the inputs at these positions are constants. */
  function once(step, positions, make, held) {
    if (step.kept) return step.kept;
    const made = make();
    if (positions.every((i) => !(step.inputs[i] > 0) || step.constant(i))) {
      step.kept = made;
      for (const t of made) held.push(tf.keep(t));
      for (const i of positions) if (step.inputs[i] && step.alone(i)) step.constant(i).dispose(); // its shape stays known
    }
    return made;
  }

  /** The outputs of a plan, tensors of their own; the inputs are its own as well, and gone then. */
  function run(plan, inputs) {
    const slots = new Array(plan.size);
    for (const [slot, { tensor }] of plan.fixed) slots[slot] = tensor;
    plan.inputs.forEach((slot, i) => (slots[slot] = inputs[i]));
    for (const step of plan.steps) {
      const given = step.inputs.map((slot) => (slot ? slots[slot] : undefined));
      let made;
      try {
        made = tf.tidy(() => {
          const outputs = [step.run(given, step.attributes, step, slots)].flat();
          return outputs.map((t) => (given.includes(t) || t?.kept ? t.clone() : t));
        });
      } catch (e) {
        const kind = e instanceof Lacks ? 'unsupported: ' : '';
        throw new Error(`${kind}node '${step.node}' (${step.op}): ${e?.message ?? e}`);
      }
      step.outputs.forEach((slot, i) => {
        if (slot) slots[slot] = made[i];
      });
      step.outputs.forEach((slot, i) => slot || made[i]?.dispose());
      for (const t of made.slice(step.outputs.length)) t?.dispose();
      for (const slot of step.frees) slots[slot]?.dispose();
    }
    const outputs = plan.outputs.map((slot) => slots[slot].clone());
    for (const slot of new Set(plan.outputs)) if (!plan.fixed.has(slot)) slots[slot].dispose();
    return outputs;
  }

  function answer(feeds, buffers) {
    const given = new Map(feeds.map(({ name, type, dims }, i) => [name, [elements(type, buffers[i]), dims, KINDS[type]]]));
    const results = [];
    const data = [];
    tf.tidy(() => {
      const inputs = model.names.map((name) => (given.has(name) ? tf.tensor(...given.get(name)) : model.defaults.get(name)?.clone()));
      for (const t of run(model.plan, inputs)) {
        results.push({ type: t.dtype, dims: t.shape });
        data.push(bytes(arrayOf(t.dtype, t.dataSync())));
      }
    });
    return [{ results }, data];
  }

  return (asked, buffers) => {
    if (asked.ask === 'operators') return [{ operators: Object.keys(table) }, []];
    if (asked.ask === 'memory') return [{ ...tf.memory() }, []];
    return asked.ask === 'load' ? load(asked.program, buffers) : answer(asked.feeds, buffers);
  };
}

/** Attributes with numbers that JSON has no text for. */
function numbers(value) {
  if (Array.isArray(value)) return value.map(numbers);
  if (value === null || typeof value !== 'object') return value;
  if (typeof value.number === 'string') return Number(value.number);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, numbers(v)]));
}
