// Branches and loops; bodies are functions of a step: step.then_branch(inputs, slots).

import { scalar } from './host.mjs';

export default function control(tf) {
  function branch([condition], _, step, slots) {
    return scalar(condition) ? step.then_branch([], slots) : step.else_branch([], slots);
  }

  function loop([limit, condition, ...initial], _, step, slots) {
    const most = scalar(limit, Infinity);
    const carried = initial.length;
    let state = initial.map((t) => t.clone());
    const collected = [];
    let go = scalar(condition, 1);
    for (let i = 0; i < most && go; i++) {
      const [next, ...made] = step.body([tf.scalar(i, 'int32'), tf.scalar(true, 'bool'), ...state], slots);
      go = scalar(next);
      next.dispose();
      for (const t of state) t.dispose();
      state = made.slice(0, carried);
      made.slice(carried).forEach((t, k) => (collected[k] ??= []).push(t));
    }
    const count = step.outputs.length - carried;
    return [...state, ...Array.from({ length: count }, (_, k) => (collected[k] ? tf.stack(collected[k]) : tf.tensor([], [0])))];
  }

  function scan(inputs, a, step, slots) {
    const { num_scan_inputs: count } = a;
    const carried = inputs.length - count;
    const { scan_input_axes: inAxes = [], scan_input_directions: inTurned = [] } = a;
    const { scan_output_axes: outAxes = [], scan_output_directions: outTurned = [] } = a;
    const rows = inputs.slice(carried).map((t, k) => {
      const parts = tf.unstack(t, ((inAxes[k] ?? 0) + t.rank) % t.rank);
      return inTurned[k] ? parts.reverse() : parts;
    });
    let state = inputs.slice(0, carried).map((t) => t.clone());
    const collected = Array.from({ length: step.outputs.length - carried }, () => []);
    for (let i = 0; i < rows[0].length; i++) {
      const made = step.body([...state, ...rows.map((parts) => parts[i])], slots);
      for (const t of state) t.dispose();
      state = made.slice(0, carried);
      made.slice(carried).forEach((t, k) => collected[k].push(t));
    }
    const stacked = collected.map((parts, k) => {
      const rank = parts[0].rank + 1;
      return tf.stack(outTurned[k] ? parts.reverse() : parts, ((outAxes[k] ?? 0) + rank) % rank);
    });
    return [...state, ...stacked];
  }

  return { If: branch, Loop: loop, Scan: scan };
}
