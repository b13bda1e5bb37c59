// Sections on the Jacobians' spectra, and on gates, activations and states.

function spectraSection(spectra) {
  section("spectra").append(
    how("The step's Jacobian ∂s_t/∂s_(t−1) says what one step does to an error on its way back. Its greatest singular value is the most it can stretch any error, its spectral radius what it does in the long run: below 1 the error shrinks, above 1 it grows. The products over many steps decide; their logarithm per step are the Lyapunov exponents: all below 0, every error dies; one above 0, it blows up."),
    keyed(...spectra.key), ...(spectra.note ? [h("p", { class: "note" }, spectra.note)] : []));
  for (const [at, chart] of spectra.charts.entries()) {
    section("spectra").append(h("h3", {}, chart.title), how(chart.how));
    const series = coloured(chart.series).map((each) => ({ ...each, dots: each.points.length <= 40 }));
    drawn("spectra", (width) => lineChart(width, { series, xLabel: chart.x, yLabel: chart.y, logY: chart.log, logX: chart.logX, height: 240, title: chart.title, of: chart.x, levels: chart.levels, whole: !chart.logX }));
    section("spectra").append(legend(series), take(`spectra-${at + 1}`, [chart.x, ...series.map((each) => each.name)], () => joined(series)));
  }
}

// Series side by side, by their x.
function joined(series) {
  const rows = new Map();
  series.forEach((each, i) => each.points.forEach(([x, y]) => {
    if (!rows.has(x)) rows.set(x, [x, ...series.map(() => null)]);
    rows.get(x)[i + 1] = y;
  }));
  return [...rows.values()].sort((a, b) => a[0] - b[0]);
}

const dash = (value, show) => (value === null ? "–" : show(value));
const COLORS = ["var(--blue)", "var(--orange)", "var(--green)", "var(--purple)"];
const coloured = (series) => series.map((each, i) => ({ ...each, color: COLORS[i % 4], dash: i > 3 ? "5 4" : null }));

function unitsSection(units) {
  section("gates").append(how("Gates lie between 0 (shut) and 1 (open); low and high are the shares of the time under 0.1 and over 0.9 (of a tanh: beyond −0.9 and 0.9). A gate that is shut or open nearly always passes no error to what would move it: it is stuck. An activation near its bounds is saturated, a ReLU that never fires is dead; neither learns."));
  if (units.layers.length) {
    const layer = (name) => units.layers.find((each) => each.name === name);
    chosen("gates", "Layer ", units.layers.map((each) => each.name), (name, width) => bars(layer(name), width), (name) => [
      table(["gate or activation", "mean", "low", "high", "remark"], layer(name).gates.map((g) => [g.name, dash(g.mean, (v) => number(v, 3)), dash(g.low, percent), dash(g.high, percent), g.remark]), [0, 4]),
      take("gates", ["gate", "mean", "low", "high"], () => layer(name).gates.map((g) => [g.name, g.mean, g.low, g.high]))]);
  } else section("gates").append(h("p", { class: "absent" }, "This network has no layer whose gates are known."));
  over("How long units keep what they hold", "The time constant of the gate that keeps the state (forget gate; the GRU's update gate), unit by unit, longest first: steps until what is held has fallen to 1/e. A task that spans more steps than the longest needs gates that open further: bptt.nn.init.chrono_.",
    "time-constants", units.times, { xLabel: "unit, in order", yLabel: "steps", logY: true, of: "unit" });
  over("Size of the states over time", "The norm of each part of the state (root mean square over rows). One that grows without end is on its way out of range; one that is all but zero holds nothing.",
    "states", units.states, { xLabel: "step", yLabel: "norm", zero: true, of: "step" });
}

function over(title, text, name, given, more) {
  if (!given.length) return;
  const series = coloured(given);
  section("gates").append(h("h3", {}, title), how(text));
  drawn("gates", (width) => lineChart(width, { series, height: 240, whole: true, title, ...more }));
  section("gates").append(legend(series), take(name, [more.of, ...series.map((each) => each.name)], () => joined(series)));
}

// Each gate as a bar: the shares shut, between, and open.
function bars(layer, width) {
  const left = 120, tall = 26, w = Math.min(width, 720), height = tall * layer.gates.length + 26;
  const svg = s("svg", { viewBox: `0 0 ${w} ${height}`, width: w, height, role: "img", "aria-label": `Gates of ${layer.name}` });
  const at = (v) => left + v * (w - left - 10);
  layer.gates.forEach((g, i) => {
    const y = i * tall + 5, part = (from, to, color) => s("rect", { x: at(from), y, width: Math.max(0, at(to) - at(from)), height: tall - 9, fill: color });
    svg.append(
      s("text", { x: left - 10, y: y + 13, "text-anchor": "end", class: "ink" }, g.name),
      part(0, g.low || 0, "var(--orange)"), part(g.low || 0, 1 - (g.high || 0), "var(--line)"), part(1 - (g.high || 0), 1, "var(--blue)"));
  });
  svg.append(
    s("text", { x: at(0), y: height - 5, style: "fill:var(--orange)" }, "■ low (shut)"), s("text", { x: at(1), y: height - 5, "text-anchor": "end", style: "fill:var(--blue)" }, "high (open) ■"));
  hover(svg, (event) => {
    const g = layer.gates[Math.floor((place(svg, event)[1] - 5) / tall)];
    return g ? `${g.name}: mean ${dash(g.mean, (v) => number(v, 3))}\nlow ${dash(g.low, percent)}, high ${dash(g.high, percent)}\n${g.remark}` : null;
  });
  return svg;
}
