// Sections on one measured gradient: its reach, its contributions, what truncations lose, explicit against implicit.

function reachSection(flow) {
  const box = section("reach"), whole = flow.profiles["the whole state"];
  const steps = (v) => (v === null ? `over ${flow.steps}` : `${Math.round(v)}`);
  box.append(
    how("Each point: how strongly a loss depends on the state so many steps (the lag) before it, on average. A straight line here is a factor per step. Right of the horizon less than 1 % of the greatest value is left: what must be learnt over more steps is learnt slowly or not at all. Right of k2 a truncation sees nothing."),
    keyed(
      [steps(whole.horizon), "steps: the horizon, where under 1 % is left" + (whole.horizon !== null && !flow.exact ? ` (${steps(whole.low)} to ${steps(whole.high)})` : "")],
      [whole.decay === null ? "–" : `×${number(whole.decay, 4)}`, "a step, fitted"],
      [whole.growth === null ? "–" : `×${number(whole.growth, 2)}`, "greatest value against the first"]));
  const marks = (profile) => [
    ...(profile.horizon !== null ? [{ x: profile.horizon, label: `horizon ${Math.round(profile.horizon)}`, color: "var(--orange)" }] : []),
    ...(flow.k2 !== null && flow.k2 <= flow.steps ? [{ x: flow.k2, label: `k2 = ${flow.k2}`, color: "var(--green)" }] : []),
  ];
  const seriesOf = (name) => {
    const profile = flow.profiles[name], points = profile.lags.map((lag, i) => [lag, profile.mean[i]]).filter((p) => p[1] > 0);
    const top = Math.max(...profile.mean.filter((v) => v !== null)), fit = profile.scale === null ? [] : profile.lags.map((lag) => [lag, profile.scale * profile.decay ** lag]).filter((p) => p[1] > top * 1e-5 && p[1] < top * 3);
    const band = profile.error.some((e) => e > 0);
    return [
      { name: "‖dE_t/ds_(t−lag)‖", color: "var(--blue)", points },
      ...(band ? [{ name: "one standard error above", color: "var(--blue)", faint: true, points: profile.lags.map((lag, i) => [lag, profile.mean[i] + (profile.error[i] || 0)]).filter((p) => p[1] > 0) }] : []),
      { name: "fitted decay", color: "var(--purple)", dash: "5 4", points: fit },
    ].filter((each) => each.points.length);
  };
  chosen("reach", "Part of the state ", Object.keys(flow.profiles),
    (name, width) => lineChart(width, { series: seriesOf(name), xLabel: "lag, steps", yLabel: "norm of the error", logY: true, height: 320, marks: marks(flow.profiles[name]), title: `Gradient against the lag: ${name}`, of: "lag", whole: true }),
    (name) => {
      const profile = flow.profiles[name];
      return [legend(seriesOf(name)), take("lag-profile", ["lag", "norm", "standard error"], () => profile.lags.map((lag, i) => [lag, profile.mean[i], profile.error[i]]))];
    });
}

const hues = ["var(--blue)", "var(--orange)", "var(--green)", "var(--purple)"];

function errorSection(flow) {
  const box = section("reach"), series = Object.entries(flow.error).map(([name, row], i) => ({
    name, color: hues[i % 4], dash: i > 3 ? "5 4" : null, points: row.map((v, k) => [k, v]).filter((p) => p[1] > 0) })).filter((each) => each.points.length);
  if (!series.length) return;
  box.append(h("h3", {}, "The error at every step"), how("What the whole loss owes to the state just before each step, by layer and part of the state (h and c). It is summed over all later losses, so that it falls towards the end; where it grows steeply towards the beginning the gradient blows up on its way back."));
  drawn("reach", (width) => lineChart(width, { series, xLabel: "step k", yLabel: "‖dE/ds_k‖", logY: true, height: 240, title: "Error at every step", of: "step", whole: true }));
  box.append(legend(series), take("error", ["step", ...series.map((each) => each.name)], () => joined(series)));
}

function contributionsSection(flow) {
  section("contributions").append(
    how(`Row t: a loss${flow.exact ? "" : ` (${flow.lossSteps.length} of ${flow.losses}, sampled)`}. Column k: the step at which the weights were used. A strong colour: this loss teaches much through that step; from strong to faint are six powers of ten. At the right end of a row is the explicit part, left of it the implicit one.${flow.k2 === null ? "" : ` The orange line is the window of Truncated(k1=${flow.k1}, k2=${flow.k2}): what lies to its left is lost.`}`));
  chosen("contributions", "Weights ", Object.keys(flow.contributions), (name, width) => heat(flow, name, width), (name) => [
    h("div", { class: "legend" }, h("span", {}, "1e−6 of the greatest", h("span", { class: "ramp" }), "the greatest")),
    take("contributions", ["t", "k from", "k to", "mean norm"], () => flow.contributions[name].flatMap((row, i) =>
      row.map((v, j) => [flow.lossSteps[i], flow.edges[j], flow.edges[j + 1] - 1, v]).filter((cell) => cell[1] <= flow.lossSteps[i])))]);
}

// Where the window of the loss at step t ends, so that the truncation keeps k >= end - k2.
const cut = (flow, t) => Math.min((Math.floor(t / flow.k1) + 1) * flow.k1, flow.steps) - flow.k2;

function heat(flow, name, width) {
  const grid = flow.contributions[name], n = grid.length, T = flow.steps, left = 52, right = 10, top = 24, bottom = 34;
  const w = Math.min(width, 900), tall = Math.max(7, Math.min(16, (0.62 * w) / n)), height = top + tall * n + bottom;
  const at = (k) => left + (k / T) * (w - left - right), most = Math.max(...grid.flat().filter((v) => v !== null), 0);
  const svg = s("svg", { viewBox: `0 0 ${w} ${height}`, width: w, height, role: "img", "aria-label": `Contributions: ${name}` });
  const depth = (v) => (v > 0 ? Math.max(0, 1 + Math.log10(v / most) / 6) : 0);
  grid.forEach((row, i) => {
    const t = flow.lossSteps[i], y = top + tall * i;
    row.forEach((v, j) => {
      const from = flow.edges[j], to = Math.min(flow.edges[j + 1], t + 1);
      if (from > t) return;
      const bad = v === null, shade = bad ? 1 : depth(v);
      if (shade > 0.004) svg.append(s("rect", { x: at(from).toFixed(2), y: y.toFixed(2), width: (at(to) - at(from) + 0.3).toFixed(2), height: Math.max(1, tall - 0.6).toFixed(2), fill: bad ? "var(--orange)" : "var(--heat)", "fill-opacity": shade.toFixed(3) }));
    });
    svg.append(s("line", { class: "axis", x1: at(t + 1), x2: at(t + 1), y1: y, y2: y + tall - 0.6, style: "stroke:var(--faint)" }));
    if (i % Math.ceil(14 / tall) === 0) svg.append(s("text", { class: "num", x: left - 7, y: y + tall / 2 + 4 }, t));
  });
  if (flow.k2 !== null) {
    let path = "";
    grid.forEach((_, i) => {
      const x = at(Math.max(0, Math.min(flow.lossSteps[i] + 1, cut(flow, flow.lossSteps[i])))), y = top + tall * i;
      path += `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}V${(y + tall).toFixed(1)}`;
    });
    svg.append(s("path", { d: path, fill: "none", stroke: "var(--orange)", "stroke-width": 2, "data-window": true }));
  }
  for (const k of ticks(0, T, Math.max(2, w / 90))) svg.append(s("text", { x: at(k), y: height - bottom + 18, "text-anchor": "middle" }, label(k)));
  svg.append(s("text", { x: 4, y: 12 }, "loss of step t"), s("text", { x: w - right, y: height - 3, "text-anchor": "end" }, "weights at step k"));
  hover(svg, (event) => {
    const [x, y] = place(svg, event), i = Math.floor((y - top) / tall), k = Math.floor(((x - left) / (w - left - right)) * T);
    if (i < 0 || i >= n || k < 0 || k > flow.lossSteps[i]) return null;
    const j = flow.edges.findIndex((edge) => edge > k) - 1, t = flow.lossSteps[i], from = flow.edges[j], to = flow.edges[j + 1] - 1;
    const kept = flow.k2 === null ? "" : k >= cut(flow, t) ? "\nkept by the truncation" : "\nlost by the truncation";
    return `C[t,k] of t = ${t}, k = ${from === to ? from : `${from} to ${to}`}\n${name}: ${number(grid[i][j])}, lag ${t - k}${kept}`;
  });
  return svg;
}

function truncationSection(flow) {
  const points = flow.byReach;
  section("truncation").append(how(`The share of all contributions that bptt.Truncated(k1=${flow.byReachK1}, k2) leaves out, against k2. Pick the least k2 whose loss you can bear: cost grows with k2/k1, memory with k2. Contributions count by their size, whether they cancel each other or add up: the gradient that is summed of them may be wrong by less or by more.`));
  if (flow.k2 !== null) section("truncation").append(keyed([flow.lost < 0.0005 && !(flow.exact && flow.lost === 0) ? "< 0.05 %" : percent(flow.lost), `lost by Truncated(k1=${flow.k1}, k2=${flow.k2})${flow.lostError ? `, ± ${percent(flow.lostError)}` : ""}`]));
  const series = [{ name: "share lost", color: "var(--blue)", points, dots: true }];
  const marks = flow.k2 !== null && flow.k2 <= flow.steps ? [{ x: flow.k2, label: `k2 = ${flow.k2}`, color: "var(--green)" }] : [];
  drawn("truncation", (width) => lineChart(width, { series, xLabel: "k2, steps", yLabel: "share lost", logX: true, zero: true, height: 260, marks, title: "Share of the contributions lost against k2", of: "k2 =" }));
  section("truncation").append(take("truncation", ["k2", "share lost"], () => points));
}

function weightsSection(flow) {
  section("weights").append(how("The gradient of each weight is a sum of what each loss owes to the weights at its own step (explicit) and at earlier steps, through the state (implicit). Where the implicit part is all but nothing, the network is trained as if each step stood alone. The cosine says whether the two pull the same way (1) or against each other (−1)."));
  const meter = (e, i) => h("span", { class: "meter", title: `explicit ${number(e)}, implicit ${number(i)}` },
    h("i", { style: `width:${e + i > 0 ? (100 * e) / (e + i) : 0}%;background:var(--blue)` }), h("i", { style: `width:${e + i > 0 ? (100 * i) / (e + i) : 0}%;background:var(--orange)` }));
  const rows = flow.weights.map(([name, total, own, earlier, cosine]) => [h("code", {}, name), number(total), number(own), number(earlier), cosine === null ? "–" : number(cosine, 3), meter(own, earlier)]);
  section("weights").append(
    h("div", { class: "legend" }, h("span", {}, h("i", { style: "border-color:var(--blue)" }), "explicit"), h("span", {}, h("i", { style: "border-color:var(--orange)" }), "implicit")),
    table(["weight", "‖gradient‖", "explicit", "implicit", "cosine", ""], rows),
    take("weights", ["weight", "gradient", "explicit", "implicit", "cosine"], () => flow.weights));
}
