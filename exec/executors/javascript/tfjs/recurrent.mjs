// LSTM, GRU and RNN: a step of time is a product with the hidden state, and activations.

export default function recurrent(tf) {
  const ACTIVATIONS = {
    sigmoid: () => tf.sigmoid, tanh: () => tf.tanh, relu: () => tf.relu, softplus: () => tf.softplus,
    softsign: () => (x) => tf.div(x, tf.add(tf.abs(x), 1)),
    affine: (alpha = 1, beta = 0) => (x) => tf.add(tf.mul(x, alpha), beta),
    leakyrelu: (alpha = 0.01) => (x) => tf.leakyRelu(x, alpha),
    elu: (alpha = 1) => (x) => tf.where(tf.greater(x, 0), x, tf.mul(tf.expm1(tf.minimum(x, 0)), alpha)),
    hardsigmoid: (alpha = 0.2, beta = 0.5) => (x) => tf.clipByValue(tf.add(tf.mul(x, alpha), beta), 0, 1),
    scaledtanh: (alpha = 1, beta = 1) => (x) => tf.mul(tf.tanh(tf.mul(x, beta)), alpha),
  };

  /** What each kind has: gates, activations, and a step from gates' inputs and state to the new state. */
  const KINDS = {
    RNN: { gates: 1, defaults: ['Tanh'], states: 1, step: plainStep },
    GRU: { gates: 3, defaults: ['Sigmoid', 'Tanh'], states: 1, step: gatedStep },
    LSTM: { gates: 4, defaults: ['Sigmoid', 'Tanh', 'Tanh'], states: 2, step: memoryStep },
  };

  function plainStep({ x, state: [h], r, biasR, f: [f], bound }) {
    return [f(bound(tf.add(tf.add(x, tf.matMul(h, r)), biasR)))];
  }

  function gatedStep({ x, state: [h], r, biasR, f: [f, g], bound, linear }) {
    const n = h.shape[1];
    const [xz, xr, xh] = tf.split(x, 3, 1);
    const [rz, rr, rh] = r;
    const [bz, br, bh] = tf.split(biasR, 3, 1);
    const z = f(bound(tf.add(tf.add(xz, tf.matMul(h, rz)), bz)));
    const reset = f(bound(tf.add(tf.add(xr, tf.matMul(h, rr)), br)));
    const hidden = linear
      ? tf.mul(reset, tf.add(tf.matMul(h, rh), bh))
      : tf.add(tf.matMul(tf.mul(reset, h), rh), tf.reshape(bh, [1, n]));
    const c = g(bound(tf.add(xh, hidden)));
    return [tf.add(tf.mul(tf.sub(1, z), c), tf.mul(z, h))];
  }

  function memoryStep({ x, state: [h, c], r, biasR, f: [f, g, k], bound, peepholes, coupled }) {
    const [i, o, forget, cell] = tf.split(tf.add(tf.add(x, tf.matMul(h, r)), biasR), 4, 1);
    const peep = (t, with_, p) => (peepholes ? tf.add(t, tf.mul(with_, peepholes[p])) : t);
    const input = f(bound(peep(i, c, 0)));
    const kept = coupled ? tf.sub(1, input) : f(bound(peep(forget, c, 2)));
    const next = tf.add(tf.mul(kept, c), tf.mul(input, g(bound(cell))));
    const output = f(bound(peep(o, next, 1)));
    return [tf.mul(output, k(next)), next];
  }

  const layer = (name) => ([given, w, r, bias, lengths, ...initial], a, step) => {
    const { gates, defaults, states } = KINDS[name];
    const { layout = 0, direction = 'forward', clip, linear_before_reset: linear = 0, input_forget: coupled = 0 } = a;
    const x = layout ? tf.transpose(given, [1, 0, 2]) : given;
    const [time, batch, width] = x.shape;
    const [directions, , n] = r.shape;
    const names = a.activations ?? Array.from({ length: directions }, () => defaults).flat();
    const alphas = [...(a.activation_alpha ?? [])];
    const betas = [...(a.activation_beta ?? [])];
    const functions = names.map((f) => {
      const key = f.toLowerCase();
      const takes = ACTIVATIONS[key].length || ['affine', 'leakyrelu', 'elu', 'hardsigmoid', 'scaledtanh'].includes(key);
      return ACTIVATIONS[key](...(takes ? [alphas.shift(), betas.shift()] : []));
    });
    const bound = clip ? (t) => tf.clipByValue(t, -clip, clip) : (t) => t;
    const ends = lengths === undefined ? undefined : Array.from(lengths.dataSync());
    const full = ends === undefined || ends.every((e) => e === time);
    const outputs = [];
    const finals = Array.from({ length: states }, () => []);
    for (let d = 0; d < directions; d++) {
      const backwards = direction === 'reverse' || d === 1;
      const part = (t) => tf.reshape(tf.slice(t, [d, ...t.shape.slice(1).map(() => 0)], [1, ...t.shape.slice(1)]), t.shape.slice(1));
      const all = gates * n;
      const wide = tf.transpose(part(w), [1, 0]);
      const narrow = tf.transpose(part(r), [1, 0]);
      const [biasW, biasR] = bias ? tf.split(tf.reshape(part(bias), [1, 2 * all]), 2, 1) : [tf.zeros([1, all]), tf.zeros([1, all])];
      const inner = name === 'GRU' ? tf.split(narrow, 3, 1) : narrow;
      const peep = name === 'LSTM' && initial[2] ? tf.split(tf.reshape(part(initial[2]), [1, 3 * n]), 3, 1) : undefined;
      const rows = tf.reshape(tf.add(tf.matMul(tf.reshape(x, [time * batch, width]), wide), biasW), [time, batch, all]);
      let state = Array.from({ length: states }, (_, k) => {
        const start = initial[k] && (layout ? tf.transpose(initial[k], [1, 0, 2]) : initial[k]);
        return start ? part(start) : tf.zeros([batch, n]);
      });
      const hidden = [];
      for (let t = 0; t < time; t++) {
        const now = backwards ? time - 1 - t : t;
        const before = state;
        const made = tf.tidy(() => {
          const input = { x: tf.reshape(tf.slice(rows, [now, 0, 0], [1, batch, all]), [batch, all]), state: before, r: inner, biasR };
          const next = KINDS[name].step({ ...input, f: functions.slice(d * defaults.length), bound, linear, coupled, peepholes: peep });
          if (full) return [...next, next[0].clone()];
          // behind the end of a sequence its state stays, and its outputs are 0
          const runs = tf.tensor(ends.map((e) => (now < e ? 1 : 0)), [batch, 1]);
          const rests = tf.sub(1, runs);
          return [...next.map((s, k) => tf.add(tf.mul(s, runs), tf.mul(before[k], rests))), tf.mul(next[0], runs)];
        });
        state = made.slice(0, states);
        hidden[now] = made[states];
      }
      outputs.push(tf.stack(hidden)); // [time, batch, n]
      state.forEach((s, k) => finals[k].push(s));
    }
    const y = tf.stack(outputs, layout ? 2 : 1); // [time, directions, batch, n], or [time, batch, directions, n]
    const last = finals.map((parts) => tf.stack(parts, layout ? 1 : 0));
    return [layout ? tf.transpose(y, [1, 0, 2, 3]) : y, ...last];
  };

  const known = ({ activations = [] }) => {
    const other = activations.find((f) => !(f.toLowerCase() in ACTIVATIONS));
    return other && `activation '${other}'`;
  };
  return Object.fromEntries(Object.keys(KINDS).map((name) => [name, { run: layer(name), refuses: known }]));
}
