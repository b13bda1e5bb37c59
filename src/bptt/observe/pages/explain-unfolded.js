// The network unfolded over time, moment by moment: T steps forward, T steps back, then the update.

const WIDE = 150, GAP = 42;

function unfolded() {
  const T = now.steps, last = 2 * T;
  const go = (to) => { now.moment = Math.max(0, Math.min(last, to)); unfolded(); };
  const bar = at("moments");
  if (!bar.firstChild) {
    bar.append(
      h("button", { type: "button", id: "before", "aria-label": "One moment back", onclick: () => bar.go(now.moment - 1) }, "◀"),
      h("input", { type: "range", id: "set-moment", min: 0, "aria-label": "Moment", oninput: (event) => bar.go(Number(event.target.value)) }),
      h("button", { type: "button", id: "after", "aria-label": "One moment on", onclick: () => bar.go(now.moment + 1) }, "▶"),
      h("button", { type: "button", id: "play", onclick: () => play(bar) }, "Play"));
  }
  bar.go = go;
  Object.assign(at("set-moment"), { max: last, value: now.moment });
  at("before").disabled = now.moment === 0;
  at("after").disabled = now.moment === last;
  const holder = at("picture"), left = holder.scrollLeft;
  holder.replaceChildren(columns());
  holder.scrollLeft = left;
  const column = now.moment < T ? now.moment : Math.max(0, last - 1 - now.moment), x = column * (WIDE + GAP);
  if (now.moment < last && (x < holder.scrollLeft || x + WIDE + 60 > holder.scrollLeft + holder.clientWidth)) holder.scrollLeft = x - 80;
  at("moment").replaceChildren(...(now.moment === last ? atTheEnd() : now.moment < T ? forward(now.moment) : backward(last - 1 - now.moment)));
}

let playing = null;
function play(bar) {
  const stop = () => { clearInterval(playing); playing = null; at("play").textContent = "Play"; };
  if (playing) { stop(); return; }
  if (now.moment === 2 * now.steps) bar.go(0);
  at("play").textContent = "Stop";
  playing = setInterval(() => { bar.go(now.moment + 1); if (now.moment === 2 * now.steps) stop(); }, 900);
}

function columns() {
  const T = now.steps, units = unitNames(), row = 18, outs = found.y[0].length, ins = DATA.x[0].length;
  const boxHeight = 16 + row * units.length, top = 64 + 16 * outs, bottom = top + boxHeight;
  const width = T * (WIDE + GAP) + 30, height = bottom + 62 + 16 * ins;
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Network unfolded over time" });
  svg.append(s("defs", {}, ["blue", "orange"].map((color) => s("marker", { id: `to-${color}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    s("path", { d: "M0 0L8 4L0 8z", fill: `var(--${color})` })))));
  const arrow = (x1, y1, x2, y2, color, on = 1, thick = 1.5) => s("line", { x1, y1, x2, y2, stroke: `var(--${color})`, "stroke-width": thick, "marker-end": `url(#to-${color})`, opacity: on });
  const text = (x, y, content, attributes) => s("text", { x, y, ...attributes }, content);
  const value = (x, y, key, v, attributes) => s("text", { x, y, class: "num", "data-key": key, "data-value": v, style: "font-variant-numeric:tabular-nums", ...attributes }, number(v));
  const largestError = Math.max(...found.errors.map(norm));
  for (let t = 0; t < T; t++) {
    const x = 30 + t * (WIDE + GAP), middle = x + WIDE / 2, done = now.moment >= t, back = now.moment >= 2 * T - 1 - t;
    const dim = done ? 1 : 0.22, current = now.moment === t ? "blue" : now.moment === 2 * T - 1 - t ? "orange" : null;
    svg.append(text(middle, 14, found.counted[t] ? `E_${t + 1}` : "no loss here", { "text-anchor": "middle", opacity: dim }));
    if (found.counted[t]) svg.append(value(middle + 24, 29, `losses/${t}`, found.losses[t], { opacity: dim, style: "fill:var(--ink)" }));
    svg.append(arrow(middle, 46, middle, 34, "blue", found.counted[t] ? dim : 0.1));
    for (let o = 0; o < outs; o++) {
      const y = 60 + 16 * o;
      svg.append(text(x, y, "y", { opacity: dim }), value(x + 62, y, `y/${t}/${o}`, found.y[t][o], { opacity: dim, style: "fill:var(--ink)" }),
        text(x + WIDE, y, `→ ${number(DATA.target[t][o], 2)}`, { "text-anchor": "end", opacity: dim }));
    }
    svg.append(arrow(middle, top - 1, middle, top - 16 + 2, "blue", dim));
    svg.append(s("rect", { x, y: top, width: WIDE, height: boxHeight, rx: 8, fill: "var(--fill)", stroke: current ? `var(--${current})` : "var(--line)", "stroke-width": current ? 2.5 : 1 }));
    units.forEach((name, i) => {
      const y = top + 21 + row * i;
      svg.append(
        text(x + 8, y, name), value(x + 82, y, `states/${t + 1}/${i}`, found.states[t + 1][i], { style: "fill:var(--blue)", opacity: dim }),
        value(x + WIDE - 6, y, `errors/${t}/${i}`, found.errors[t][i], { style: "fill:var(--orange)", opacity: back ? 1 : 0 }));
    });
    if (t) {
      svg.append(arrow(x - GAP + 3, top + 14, x - 4, top + 14, "blue", dim, 1.5));
      const share = largestError > 0 ? norm(timesT(found.jacobians[t], found.errors[t])) / largestError : 0;
      svg.append(arrow(x - 4, bottom - 12, x - GAP + 3, bottom - 12, "orange", back ? 1 : 0, 0.7 + 4 * Math.min(1, share || 0)));
    }
    svg.append(arrow(middle, bottom + 22, middle, bottom + 4, "blue", dim), text(x + 8, bottom + 38, "x", { opacity: dim }));
    for (let i = 0; i < ins; i++) svg.append(value(x + 82, bottom + 38 + 16 * i, `x/${t}/${i}`, DATA.x[t][i], { style: "fill:var(--ink)" }));
    svg.append(text(x + WIDE, bottom + 38, `t = ${t + 1}`, { "text-anchor": "end" }));
  }
  return svg;
}

const put = (value, digits) => { const text = number(value, digits); return value < 0 ? `(${text})` : text; };
const vector = (v) => `[${v.map((each) => number(each)).join("  ")}]`;
const lines = (...text) => h("div", { class: "lines" }, text.flat().join("\n"));

function forward(t) {
  const w = weightsOf(), hidden = found.hidden, x = DATA.x[t], before = found.states[t], trace = found.traces[t], told = [];
  if (trace.a) {
    range(hidden).forEach((i) => {
      const terms = [...x.map((v, j) => `${put(w.W_xh[i][j], 2)}·${put(v)}`), ...range(hidden).map((j) => `${put(w.W_hh[i][j], 2)}·${put(before[j])}`)];
      told.push(`h${i + 1} = ${{ rnn: "tanh", relu: "max(0, ·)", linear: "" }[now.cell]}(${terms.join(" + ")} + ${put(w.b_h[i], 2)}) = ${number(found.states[t + 1][i])}`);
    });
  } else {
    for (const [name, v] of Object.entries(trace)) told.push(`${name.padEnd(6)} = ${vector(v)}`);
    split(found.states[t + 1], DATA.cells[now.cell].parts.length).forEach((v, part) => told.push(`${DATA.cells[now.cell].parts[part].padEnd(6)} = ${vector(v)}`));
  }
  told.push(`y  = W_hy h${w.b_y ? " + b_y" : ""} = ${vector(found.y[t])}`);
  if (found.counted[t]) told.push(`E_${t + 1} = ½ Σ (y − target)² = ${number(found.losses[t])}`);
  return [h("h3", {}, `Forward, step ${t + 1}`), lines(told)];
}

function backward(k) {
  const T = now.steps, came = k + 1 < T ? timesT(found.jacobians[k + 1], found.errors[k + 1]) : null;
  const explicit = found.parts[k][k], told = [`q_${k + 1} = ∂⁺E_${k + 1}/∂s_${k + 1} = W_hyᵀ (y − target) = ${vector(found.own[k])}`];
  if (came) {
    const name = `J_${k + 2} = ∂s_${k + 2}/∂s_${k + 1} = `;
    told.push(name + found.jacobians[k + 1].map(vector).join("\n" + " ".repeat(name.length)));
    told.push(`J_${k + 2}ᵀ δ_${k + 2} = ${vector(came)}`, `δ_${k + 1} = q_${k + 1} + J_${k + 2}ᵀ δ_${k + 2} = ${vector(found.errors[k])}`);
  } else told.push(`δ_${k + 1} = q_${k + 1}: no step comes after it`);
  const names = Object.keys(explicit);
  const later = each(explicit, (v, name) => range(T).slice(k + 1).reduce((sum, t) => (found.parts[t][k][name] ? add(sum, found.parts[t][k][name]) : sum), zeros(v)));
  return [h("h3", {}, `Backward, step ${k + 1}`), lines(told), h("p", { class: "how" }, "What this step's use of the weights adds to the gradient (norms):"),
    table(["", "explicit, by its own loss", "implicit, by later losses"], names.map((name) => [name, number(norm(explicit[name])), number(norm(later[name]))]))];
}

function atTheEnd() {
  return [h("h3", {}, "The update"), lines(
    `W ← W − ${number(now.rate, 2)} · dE/dW`, `‖dE/dW‖ = ${number(found.size)}`, `the loss goes from ${number(found.loss)} to ${number(found.lossAfter)}`)];
}
