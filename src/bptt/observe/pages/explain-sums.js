// Contributions as a heat map, their sums, and what a change would bring.

function contributions() {
  const names = ["all", ...Object.keys(weightsOf())];
  if (!names.includes(now.which)) now.which = "all";
  at("which").replaceChildren(...names.map((name) => h("option", { value: name, selected: name === now.which }, name === "all" ? "all together" : name)));
  const size = (t, k) => (now.which === "all" ? length(found.parts[t][k]) : found.parts[t][k][now.which] ? norm(found.parts[t][k][now.which]) : 0);
  const T = now.steps, values = range(T).map((t) => range(t + 1).map((k) => size(t, k)));
  const kept = values.flatMap((row, t) => row.filter((_, k) => found.keep(t, k))).reduce((a, b) => a + b, 0), all = values.flat().reduce((a, b) => a + b, 0);
  at("share").textContent = `Truncated(k1=${now.k1}, k2=${now.k2}) keeps ${percent(all > 0 ? kept / all : 1)} of Σ ‖C[t,k]‖`;
  const holder = at("heat");
  if (!holder.chart) {
    holder.append(h("div"), h("div"));
    holder.chart = responsive(holder.firstChild, (width) => holder.draw(width));
  }
  holder.draw = (width) => heat(width, values);
  holder.lastChild.replaceChildren(download("contributions", ["t", "k", "norm", "kept"], () => values.flatMap((row, t) => row.map((v, k) => [t + 1, k + 1, v, found.keep(t, k) ? 1 : 0]))));
  holder.chart.redraw();
}

function heat(width, values) {
  const T = values.length, side = Math.max(4, Math.min(64, Math.floor((Math.min(width, 720) - 40) / T))), left = 34, top = 24;
  const w = left + side * T + 6, height = top + side * T + 6, most = Math.max(...values.flat().filter(Number.isFinite), 0);
  const svg = s("svg", { viewBox: `0 0 ${w} ${height}`, width: w, height, role: "img", "aria-label": "Contributions by loss step and weight step" });
  const depth = (v) => (!(v > 0) ? 0 : !Number.isFinite(v) ? 1 : Math.max(0.04, 1 + Math.log10(v / most) / 4));
  const every = Math.ceil(26 / side);
  values.forEach((row, t) => {
    if (t % every === 0) svg.append(s("text", { class: "num", x: left - 6, y: top + side * (t + 0.5) + 4 }, t + 1), s("text", { x: left + side * (t + 0.5), y: top - 6, "text-anchor": "middle" }, t + 1));
    row.forEach((v, k) => {
      const x = left + side * k, y = top + side * t, keep = found.keep(t, k);
      svg.append(s("rect", { x: x + 0.5, y: y + 0.5, width: side - 1, height: side - 1, rx: Math.min(3, side / 8), fill: "var(--heat)", "fill-opacity": depth(v), stroke: "var(--line)", "stroke-width": 0.5, "data-key": `norms/${t}/${k}`, "data-value": v }));
      if (!keep) svg.append(s("path", { d: `M${x + 2} ${y + 2}L${x + side - 2} ${y + side - 2}`, stroke: "var(--orange)", "stroke-width": 1.5, "stroke-opacity": 0.8, "pointer-events": "none" }));
      if (side >= 46) svg.append(s("text", { x: x + side / 2, y: y + side / 2 + 4, "text-anchor": "middle", style: `fill:${depth(v) > 0.55 ? "var(--panel)" : "var(--ink)"};font-size:11px;pointer-events:none` }, number(v, 3)));
    });
  });
  svg.append(s("text", { x: left - 6, y: 11, class: "num" }, "t \\ k"));
  for (let e = now.k1; e < T; e += now.k1) svg.append(s("line", { x1: left, x2: left + side * e, y1: top + side * e, y2: top + side * e, stroke: "var(--green)", "stroke-width": 1.5 }));
  hover(svg, (event) => {
    const [x, y] = place(svg, event), k = Math.floor((x - left) / side), t = Math.floor((y - top) / side);
    if (t < 0 || k < 0 || t >= T || k > t) return null;
    return `C[${t + 1},${k + 1}]: loss of step ${t + 1} through the weights at step ${k + 1}\nnorm ${number(values[t][k])}, lag ${t - k}${t === k ? " (explicit)" : " (implicit)"}\n${found.keep(t, k) ? "kept" : "left out by the truncation"}`;
  });
  return svg;
}

function sums() {
  const w = weightsOf(), rows = [];
  const entries = (name) => (Array.isArray(w[name][0]) ? w[name].flatMap((row, i) => row.map((_, j) => [i, j])) : w[name].map((_, i) => [i]));
  const pick = (from, place) => place.reduce((v, i) => v[i], from);
  const parts = { explicit: found.explicit, implicit: found.implicit, gradient: found.gradient, truncated: found.truncated, clipped: found.clipped, weights: w, updated: found.updated };
  for (const name of Object.keys(w)) for (const place of entries(name)) {
    const tail = `${name}/${place.join("/")}`;
    rows.push([`${name}[${place.map((i) => i + 1).join(",")}]`, ...Object.entries(parts).map(([key, from]) => shown(`${key}/${tail}`, pick(from[name], place)))]);
  }
  at("sums").replaceChildren(
    table(["weight", "explicit", "+ implicit", "= dE/dW", `k1=${now.k1}, k2=${now.k2}`, "clipped", "W", "→ W"], rows),
    download("gradient", ["weight", ...Object.keys(parts)], () => rows.map((row) => row.map((cell) => (cell.dataset ? cell.dataset.value : cell)))));
}

function changes() {
  const { given } = found, T = now.steps, rows = [];
  const step = (weights, g) => each(weights, (v, name) => deep((p, q) => p - now.rate * q, v, g[name]));
  const row = (name, of, g, loss, reach, same) => rows.push([
    name, shown(`variant/${name}/norm`, length(g)), same ? percent(off(g, found.gradient)) : "", number(loss),
    shown(`variant/${name}/after`, passForward({ ...of, weights: step(of.weights, g) }).loss), percent(reach)]);
  const same = (name, g, reach = reachOf(found)) => row(name, given, g, found.loss, reach, true);
  const other = (name, cell, weights) => {
    const of = { ...given, cell, weights }, { gradient, loss, reach } = brief(of);
    row(name, of, gradient, loss, reach, false);
  };
  same("full", found.gradient);
  for (const [k1, k2] of [[now.k1, now.k2], [1, 1], [1, 2]]) {
    const name = `Truncated(k1=${k1}, k2=${k2})`;
    if (k1 > T || rows.some((made) => made[0] === name)) continue;
    same(name, found.total((t, k) => keeps(t, k, k1, k2, T)), keeps(T - 1, 0, k1, k2, T) ? reachOf(found) : 0);
  }
  same(`clip_norm ${number(now.clip, 2)}`, found.clipped);
  const limited = stepClipped(found, now.clip / 10);
  same(`clip_step ${number(now.clip / 10, 3)}`, limited.gradient, limited.reach);
  const plainCell = DATA.cells[now.cell].gates.length === 1;
  if (plainCell) {
    other("ReLU, W_hh = I", "relu", identity(given.weights));
    other("W_hh orthogonal", now.cell, { ...given.weights, W_hh: nearestOrthogonal(given.weights.W_hh) });
  }
  for (const cell of ["rnn", "gru", "lstm"]) {
    if (cell === now.cell || (cell === "rnn" && plainCell)) continue;
    other(`${cell.toUpperCase()} in its place`, cell, DATA.weights[cell]);
    if (cell !== "lstm") continue;
    const hidden = found.hidden, open = DATA.weights.lstm.b_h.map((b, i) => (i >= hidden && i < 2 * hidden ? 5 : b));
    other("LSTM, b_f = 5", "lstm", { ...DATA.weights.lstm, b_h: open });
  }
  at("variants").replaceChildren(table(["with", "‖g‖", "off", "loss", "after", "reach"], rows));
}

update();
