// The page of `bptt explain`: what is chosen, and everything that follows from it.

const start = () => ({
  cell: DATA.cell, steps: DATA.steps, k1: DATA.k1, k2: DATA.k2, every: DATA.every, clip: DATA.clip, rate: DATA.rate,
  weights: structuredClone(DATA.weights), anchor: null, scale: 1, moment: null, which: "all",
});
let now = start();
let found = null;
let oneOf = null; // the weight that the slider moves
const at = (id) => document.getElementById(id);
const weightsOf = () => now.weights[now.cell];
const unitNames = () => DATA.cells[now.cell].parts.flatMap((part) => range(weightsOf().W_hh[0].length).map((i) => `${part}${i + 1}`));

function compute() {
  const x = DATA.x.slice(0, now.steps), target = DATA.target.slice(0, now.steps);
  const given = { cell: now.cell, weights: weightsOf(), x, target, every: now.every };
  const result = run(given);
  const keep = (t, k) => keeps(t, k, now.k1, now.k2, now.steps);
  const size = length(result.gradient), shrink = size >= now.clip && size > 0 ? now.clip / size : 1;
  const updated = each(given.weights, (v, name) => deep((w, g) => w - now.rate * g, v, result.gradient[name]));
  return Object.assign(result, {
    given, keep, size, updated, truncated: result.total(keep),
    clipped: each(result.gradient, (v) => deep((g) => shrink * g, v)),
    lossAfter: passForward({ ...given, weights: updated }).loss,
  });
}

const off = (g, whole) => length(each(whole, (v, name) => deep((p, q) => p - q, v, g[name]))) / (length(whole) || 1);
const reachOf = (result) => {
  const last = norm(result.back[result.T - 1][result.T - 1]);
  return last > 0 ? norm(result.back[result.T - 1][0]) / last : 0;
};

function update() {
  now.k1 = Math.min(now.k1, now.steps);
  now.k2 = Math.min(now.k2, now.steps);
  if (now.moment === null || now.moment > 2 * now.steps) now.moment = 2 * now.steps;
  found = compute();
  for (const part of [controls, verdict, network, unfolded, reach, contributions, sums, changes]) part();
}

function slider(name, min, max, step, value, set, text = String(value)) {
  const shownValue = h("b", {}, text);
  return h("label", {}, shownValue, name, h("input", {
    type: "range", min, max, step, value, id: `set-${name.replace(/\W+/g, "-")}`, "aria-label": name,
    oninput: (event) => { set(Number(event.target.value)); update(); },
  }));
}

function controls() {
  const old = document.activeElement && document.activeElement.id;
  const choice = (id, name, options, value, set) => h("label", {}, name, h("select", {
    id, onchange: (event) => { set(event.target.value); update(); },
  }, Object.entries(options).map(([key, text]) => h("option", { value: key, selected: key === value }, text))));
  const names = { rnn: "RNN, tanh", relu: "RNN, ReLU", linear: "RNN, linear", gru: "GRU", lstm: "LSTM" };
  const plainCell = DATA.cells[now.cell].gates.length === 1;
  at("controls").replaceChildren(
    choice("set-cell", "Cell", names, now.cell, (value) => { now.cell = value; now.anchor = null; now.scale = 1; oneOf = null; }),
    slider("steps T", 1, DATA.x.length, 1, now.steps, (v) => { now.steps = v; now.moment = null; }),
    slider("k1", 1, now.steps, 1, now.k1, (v) => { now.k1 = v; }),
    slider("k2", 1, now.steps, 1, now.k2, (v) => { now.k2 = v; }),
    slider("W_hh ×", 0, 3, 0.05, now.scale, (v) => {
      now.anchor ||= structuredClone(weightsOf().W_hh);
      now.scale = v;
      weightsOf().W_hh = deep((w) => w * v, now.anchor);
    }, now.scale.toFixed(2)),
    slider("clip norm", 0.05, 5, 0.05, now.clip, (v) => { now.clip = v; }, now.clip.toFixed(2)),
    slider("rate", 0, 1, 0.01, now.rate, (v) => { now.rate = v; }, now.rate.toFixed(2)),
    choice("set-loss", "Loss", { every: "every step", last: "last step" }, now.every ? "every" : "last", (v) => { now.every = v === "every"; }),
    h("div", { class: "buttons" },
      h("button", { type: "button", id: "identity", disabled: !plainCell, onclick: () => replace(identity(weightsOf())) }, "W_hh = I"),
      h("button", { type: "button", id: "take-step", onclick: () => replace(found.updated) }, "Take the update"),
      h("button", { type: "button", id: "reset", onclick: () => { now = start(); oneOf = null; update(); } }, "Begin anew")));
  if (old && at(old)) at(old).focus();
}

const identity = (w) => ({ ...w, W_hh: w.W_hh.map((row, i) => row.map((_, j) => (i === j ? 1 : 0))), b_h: zeros(w.b_h) });

function replace(weights) {
  now.weights[now.cell] = structuredClone(weights);
  now.anchor = null;
  now.scale = 1;
  oneOf = null;
  update();
}

function verdict() {
  const share = reachOf(found), rate = share > 0 && now.steps > 1 ? share ** (1 / (now.steps - 1)) : share;
  const kind = now.steps < 2 ? "" : rate < 0.9 ? "dies" : rate > 1.1 ? "blows" : "lasts";
  const words = { dies: "the gradient dies", blows: "the gradient blows up", lasts: "the gradient lasts", "": "one step: no time to cross" }[kind];
  const box = (name, kindOf, value, text) => h("div", { class: kindOf }, h("b", { id: name }, value), h("span", {}, text));
  at("verdict").replaceChildren(
    box("loss", "", shown("loss", found.loss), "loss E, all steps"),
    box("size", "", shown("norm", found.size), `‖dE/dW‖${found.size > now.clip ? `, clipped to ${now.clip.toFixed(2)}` : ""}`),
    box("fate", kind, now.steps < 2 ? "–" : `×${number(rate, 3)} a step`, words),
    box("bias", "", percent(off(found.truncated, found.gradient)), `off: the gradient of Truncated(k1=${now.k1}, k2=${now.k2})`));
}

function network() {
  const w = weightsOf(), gates = DATA.cells[now.cell].gates, hidden = w.W_hh[0].length;
  at("equations").textContent = [...DATA.cells[now.cell].equations, `y_t = W_hy h_t${w.b_y ? " + b_y" : ""}`].join("\n");
  const active = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.weight : null;
  at("weights").replaceChildren(...Object.entries(w).map(([name, value]) => {
    const rows = Array.isArray(value[0]) ? value : value.map((v) => [v]);
    const title = (i) => (name === "W_xh" || name === "W_hh" || name === "b_h" ? gates[Math.floor(i / hidden)] : "");
    return h("table", {}, h("caption", {}, name), rows.map((row, i) => h("tr", {}, h("th", {}, title(i)), row.map((v, j) => {
      const put = (event) => {
        const typed = Number(event.target.value);
        if (event.target.value.trim() === "" || !Number.isFinite(typed)) return;
        if (Array.isArray(value[0])) value[i][j] = typed; else value[i] = typed;
        now.anchor = null;
        now.scale = 1;
        update();
      };
      const key = `${name}/${i}/${j}`;
      return h("td", {}, h("input", {
        type: "number", step: 0.05, value: Number(v.toFixed(4)), "data-weight": key, "aria-label": `${name} ${i + 1},${j + 1}`,
        onchange: put, onfocus: () => one(`${name}[${i + 1},${j + 1}]`, v, put),
      }));
    }))));
  }));
  if (active) document.querySelector(`[data-weight="${active}"]`)?.focus();
  else if (!oneOf) at("weights").querySelector('[data-weight="W_hh/0/0"]').dispatchEvent(new Event("focus"));
}

function one(name, value, put) {
  if (oneOf === name && at("one").contains(document.activeElement)) return;
  oneOf = name;
  at("one").replaceChildren(h("label", {}, `${name}, from −2 to 2`, h("input", { type: "range", min: -2, max: 2, step: 0.01, value, id: "set-one", oninput: put })));
}

function reach() {
  const T = now.steps;
  const points = range(T).map((k) => [k + 1, norm(found.back[T - 1][k])]);
  const total = range(T).map((k) => [k + 1, norm(found.errors[k])]);
  const series = [{ name: "‖dE_T/ds_k‖, the last loss", color: "var(--orange)", points, dots: T <= 20 }, { name: "‖dE/ds_k‖, all losses", color: "var(--blue)", points: total, dash: "5 4" }];
  const holder = at("reach-chart");
  if (!holder.chart) {
    holder.append(h("div"), h("div"));
    holder.chart = responsive(holder.firstChild, (width) => holder.draw(width));
  }
  const marks = now.k2 < T ? [{ x: T - now.k2 + 1, label: `k2 = ${now.k2}: nothing to the left of here`, color: "var(--green)" }] : [];
  holder.draw = (width) => lineChart(width, { series, xLabel: "step k", yLabel: "norm of the error", logY: true, height: 260, whole: true, marks, title: "How far the error reaches", of: "k =" });
  holder.lastChild.replaceChildren(legend(series), download("reach", ["k", "dE_T/ds_k", "dE/ds_k"], () => points.map(([k, v], i) => [k, v, total[i][1]])));
  holder.chart.redraw();
}

at("which").addEventListener("change", (event) => { now.which = event.target.value; contributions(); });
theme(at("theme"));
