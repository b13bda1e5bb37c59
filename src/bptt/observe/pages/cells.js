// One step of each kind of cell, forward and backward: the same equations as bptt/observe/explain_cells.py.

const sigmoid = (a) => 0.5 * (1 + Math.tanh(a / 2));
const times = (m, v) => m.map((row) => row.reduce((sum, w, j) => sum + w * v[j], 0));
const timesT = (m, v) => m[0].map((_, j) => m.reduce((sum, row, i) => sum + row[j] * v[i], 0));
const outer = (a, b) => a.map((p) => b.map((q) => p * q));
const plus = (...vectors) => vectors[0].map((_, i) => vectors.reduce((sum, v) => sum + v[i], 0));
const zip = (f, ...vectors) => vectors[0].map((_, i) => f(...vectors.map((v) => v[i])));
const split = (v, n) => Array.from({ length: n }, (_, i) => v.slice((i * v.length) / n, ((i + 1) * v.length) / n));

const given = (x, before, da, du = da) => ({ W_xh: outer(da, x), W_hh: outer(du, before), b_h: da });

function plain(f, slope) {
  return {
    forward(w, x, state) {
      const a = plus(times(w.W_xh, x), times(w.W_hh, state), w.b_h);
      return [a.map(f), { a }];
    },
    backward(w, x, state, trace, error) {
      const da = zip((e, a) => e * slope(a), error, trace.a);
      return [timesT(w.W_hh, da), given(x, state, da)];
    },
  };
}

const CELLS = {
  rnn: plain(Math.tanh, (a) => 1 - Math.tanh(a) ** 2),
  relu: plain((a) => Math.max(a, 0), (a) => (a > 0 ? 1 : 0)),
  linear: plain((a) => a, () => 1),
  gru: {
    forward(w, x, state) {
      const [ar, az, an] = split(plus(times(w.W_xh, x), w.b_h), 3);
      const [ur, uz, un] = split(times(w.W_hh, state), 3);
      const r = zip((a, u) => sigmoid(a + u), ar, ur), z = zip((a, u) => sigmoid(a + u), az, uz), u = plus(un, w.b_hn);
      const n = zip((a, p, q) => Math.tanh(a + p * q), an, r, u);
      return [zip((p, q, old) => p + q * (old - p), n, z, state), { r, z, n, u_n: u }];
    },
    backward(w, x, state, { r, z, n, u_n: u }, error) {
      const dn = zip((e, q, p) => e * (1 - q) * (1 - p * p), error, z, n);
      const dr = zip((d, v, g) => d * v * g * (1 - g), dn, u, r);
      const dz = zip((e, old, p, q) => e * (old - p) * q * (1 - q), error, state, n, z);
      const dun = zip((d, g) => d * g, dn, r), du = [...dr, ...dz, ...dun];
      const back = plus(zip((e, q) => e * q, error, z), timesT(w.W_hh, du));
      return [back, { ...given(x, state, [...dr, ...dz, ...dn], du), b_hn: dun }];
    },
  },
  lstm: {
    forward(w, x, state) {
      const [before, c] = split(state, 2);
      const [ai, af, ag, ao] = split(plus(times(w.W_xh, x), times(w.W_hh, before), w.b_h), 4);
      const i = ai.map(sigmoid), f = af.map(sigmoid), g = ag.map(Math.tanh), o = ao.map(sigmoid);
      const next = zip((p, old, q, v) => p * old + q * v, f, c, i, g), squashed = next.map(Math.tanh);
      return [[...zip((p, q) => p * q, o, squashed), ...next], { i, f, g, o, "tanh c": squashed }];
    },
    backward(w, x, state, { i, f, g, o, "tanh c": squashed }, error) {
      const [before, c] = split(state, 2), [dh, own] = split(error, 2);
      const dc = zip((d, e, p, q) => d + e * p * (1 - q * q), own, dh, o, squashed);
      const da = [
        ...zip((d, v, p) => d * v * p * (1 - p), dc, g, i),
        ...zip((d, old, p) => d * old * p * (1 - p), dc, c, f),
        ...zip((d, p, v) => d * p * (1 - v * v), dc, i, g),
        ...zip((e, q, p) => e * q * p * (1 - p), dh, squashed, o),
      ];
      return [[...timesT(w.W_hh, da), ...zip((d, p) => d * p, dc, f)], given(x, before, da)];
    },
  },
};
