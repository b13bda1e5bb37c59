// Backpropagation through time, every contribution apart: the same numbers as bptt/observe/explained.py.

const deep = (f, ...values) => (Array.isArray(values[0]) ? values[0].map((_, i) => deep(f, ...values.map((v) => v[i]))) : f(...values));
const add = (a, b) => deep((p, q) => p + q, a, b);
const pour = (into, from) => from.forEach((v, i) => { if (Array.isArray(v)) pour(into[i], v); else into[i] += v; });
const zeros = (like) => deep(() => 0, like);
const norm = (v) => Math.sqrt([v].flat(3).reduce((sum, p) => sum + p * p, 0));
const length = (gradient) => Math.sqrt(Object.values(gradient).reduce((sum, v) => sum + norm(v) ** 2, 0));
const each = (weights, f) => Object.fromEntries(Object.entries(weights).map(([name, value]) => [name, f(value, name)]));

// {cell, weights, x, target, every} -> states, outputs and losses; steps count from 0.
function passForward({ cell, weights, x, target, every }) {
  const kind = CELLS[cell], T = x.length, hidden = weights.W_hh[0].length;
  const size = hidden * DATA.cells[cell].parts.length;
  const counted = range(T).map((t) => (every || t === T - 1 ? 1 : 0));
  const states = [Array(size).fill(0)], traces = [];
  for (let t = 0; t < T; t++) {
    const [state, trace] = kind.forward(weights, x[t], states[t]);
    states.push(state);
    traces.push(trace);
  }
  const y = states.slice(1).map((state) => {
    const out = times(weights.W_hy, state.slice(0, hidden));
    return weights.b_y ? plus(out, weights.b_y) : out;
  });
  const miss = y.map((out, t) => zip((p, q) => (p - q) * counted[t], out, target[t]));
  const losses = y.map((out, t) => 0.5 * counted[t] * zip((p, q) => (p - q) ** 2, out, target[t]).reduce((a, b) => a + b, 0));
  const own = miss.map((m) => [...timesT(weights.W_hy, m), ...Array(size - hidden).fill(0)]);
  const step = (k, error) => kind.backward(weights, x[k], states[k], traces[k], error);
  const readout = (t) => ({ W_hy: outer(miss[t], states[t + 1].slice(0, hidden)), ...(weights.b_y ? { b_y: miss[t] } : {}) });
  return { T, hidden, size, counted, states, traces, y, miss, losses, own, step, readout, loss: losses.reduce((a, b) => a + b, 0) };
}

// The loss, its gradient, and what is left at the first step of the last loss's error: one pass backward for each.
function brief(given) {
  const { T, own, step, readout, loss } = passForward(given), gradient = each(given.weights, zeros);
  const into = (found) => Object.entries(found).forEach(([name, value]) => { gradient[name] = add(gradient[name], value); });
  let all = own[T - 1], last = own[T - 1];
  for (let k = T - 1; k >= 0; k--) {
    const [before, found] = step(k, all);
    into(found);
    into(readout(k));
    if (k) [all, last] = [add(own[k - 1], before), step(k, last)[0]];
  }
  return { loss, gradient, reach: norm(own[T - 1]) > 0 ? norm(last) / norm(own[T - 1]) : 0 };
}

// Everything: besides the pass forward errors, Jacobians, each contribution C[t,k], and their sums.
function run(given) {
  const pass = passForward(given), { T, size, own, step, readout } = pass, { weights } = given;
  const back = range(T).map(() => Array(T).fill(null)), parts = range(T).map(() => Array(T).fill(null));
  for (let t = 0; t < T; t++) {
    let error = own[t];
    for (let k = t; k >= 0; k--) {
      back[t][k] = error;
      const [before, found] = step(k, error);
      parts[t][k] = found;
      error = before;
    }
    Object.assign(parts[t][t], readout(t));
  }
  const total = (keep) => {
    const sum = each(weights, zeros);
    for (let t = 0; t < T; t++) for (let k = 0; k <= t; k++) {
      if (keep(t, k)) for (const name in parts[t][k]) pour(sum[name], parts[t][k][name]);
    }
    return sum;
  };
  const errors = range(T).map((k) => range(T).slice(k).reduce((sum, t) => add(sum, back[t][k]), Array(size).fill(0)));
  const jacobians = range(T).map((t) => range(size).map((i) => step(t, range(size).map((j) => (i === j ? 1 : 0)))[0]));
  const explicit = total((t, k) => t === k), implicit = total((t, k) => t > k), gradient = each(explicit, (v, name) => add(v, implicit[name]));
  return { ...pass, back, parts, errors, jacobians, explicit, implicit, gradient, total };
}

// Every element of the error limited wherever it is passed back to the step before: the gradient, and the share that reaches step 1.
function stepClipped(of, limit) {
  const passed = (own) => {
    const errors = own.map((error) => [...error]);
    for (let k = of.T - 1; k > 0; k--) pour(errors[k - 1], of.step(k, errors[k])[0].map((e) => Math.min(limit, Math.max(-limit, e))));
    return errors;
  };
  const gradient = each(of.explicit, (v, name) => (name === "W_hy" || name === "b_y" ? v : zeros(v)));
  passed(of.own).forEach((error, k) => Object.entries(of.step(k, error)[1]).forEach(([name, v]) => { gradient[name] = add(gradient[name], v); }));
  const last = passed(of.own.map((error, k) => (k === of.T - 1 ? error : zeros(error))));
  return { gradient, reach: norm(last[of.T - 1]) > 0 ? norm(last[0]) / norm(last[of.T - 1]) : 0 };
}

// The orthogonal matrix next to m: Newton-Schulz steps, which take every singular value to 1.
function nearestOrthogonal(m) {
  const product = (a, b) => a.map((row) => timesT(b, row)), turned = (a) => a[0].map((_, j) => a.map((row) => row[j]));
  const size = largest(m);
  if (!(size > 0 && Number.isFinite(size))) return m;
  let x = deep((v) => v / size, m);
  for (let n = 0; n < 200; n++) {
    const next = deep((a, b) => 1.5 * a - 0.5 * b, x, product(product(x, turned(x)), x)), moved = norm(deep((a, b) => a - b, next, x));
    x = next;
    if (moved < 1e-15) break;
  }
  return x;
}

// Which C[t,k] Truncated(k1, k2) keeps: windows end every k1 steps and reach back through k2.
const windowEnd = (t, k1, T) => Math.min((Math.floor(t / k1) + 1) * k1, T);
const keeps = (t, k, k1, k2, T) => k <= t && k >= windowEnd(t, k1, T) - k2;

// The singular value that is greatest, by the eigenvalues of JᵀJ (power steps on a matrix this small settle at once).
function largest(m) {
  let v = m[0].map((_, i) => 1 + 0.37 * i), size = 0;
  for (let n = 0; n < 300; n++) {
    const next = timesT(m, times(m, v)), now = norm(next);
    if (!(now > 0) || !Number.isFinite(now)) return Number.isFinite(now) ? 0 : Infinity;
    v = next.map((p) => p / now);
    if (Math.abs(now - size) < 1e-15 * now) break;
    size = now;
  }
  return norm(times(m, v));
}
