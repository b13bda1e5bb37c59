// Line charts and heat maps, drawn for the width that there is.

// Draws `draw(width)` into `box`, again whenever its width changes.
function responsive(box, draw) {
  let last = 0;
  const go = () => {
    const width = Math.floor(box.clientWidth);
    if (width < 1 || width === last) return;
    last = width;
    box.replaceChildren(draw(width));
  };
  new ResizeObserver(() => requestAnimationFrame(go)).observe(box);
  return { redraw() { last = 0; go(); } };
}

const range = (n) => Array.from({ length: n }, (_, i) => i);

function ticks(low, high, about) {
  const rough = (high - low) / Math.max(1, about), ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * ten).find((each) => each >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push(at * step);
  return found;
}

// Powers of ten; between them 2 and 5 where there is room; where not one of these lies inside, evenly spaced values.
function decades(low, high, about) {
  const from = Math.floor(Math.log10(low) - 1e-9), to = Math.ceil(Math.log10(high) + 1e-9), inside = (v) => v >= low * 0.999 && v <= high * 1.001;
  const every = Math.max(1, Math.ceil((to - from) / about)), tens = [];
  for (let at = Math.ceil(from / every) * every; at <= to; at += every) tens.push(10 ** at);
  const finer = every > 1 ? [] : range(to - from + 1).flatMap((i) => [1, 2, 5].map((m) => m * 10 ** (from + i))).filter(inside);
  const few = tens.filter(inside);
  if (finer.length && finer.length <= about + 1) return finer.length > 1 ? finer : ticks(low, high, about).filter((v) => v > 0);
  return few.length > 1 ? few : finer;
}

function label(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) {
    const [front, exponent] = value.toExponential().split("e");
    return `${front.length > 4 ? Number(front).toFixed(1) : front}e${Number(exponent)}`.replace(/^1e/, "1e").replaceAll("-", "−");
  }
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

function scale(values, from, to, { log = false, zero = false, pad = 0, whole = false } = {}) {
  let found = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
  if (!found.length) found = log ? [0.1, 1] : [0, 1];
  let low = Math.min(...found), high = Math.max(...found);
  if (log) low = Math.max(low, high * 1e-16);
  if (zero) low = Math.min(0, low);
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const f = log ? Math.log10 : (v) => v;
  const margin = pad * (f(high) - f(low)), a = f(low) - (zero && low === 0 ? 0 : margin), b = f(high) + margin;
  const at = (v) => from + ((f(Math.max(v, log ? low : -Infinity)) - a) / (b - a)) * (to - from);
  return { at, low, high, log, ticks: (about) => (log ? decades(10 ** a, 10 ** b, about) : ticks(a, b, whole ? Math.min(about, b - a) : about).filter((v) => !whole || Number.isInteger(v))) };
}

function frame(width, height, x, y, { xLabel, yLabel, left, bottom, top, right }) {
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  for (const value of y.ticks(Math.max(2, (height - top - bottom) / 45))) {
    svg.append(
      s("line", { class: "axis", x1: left, x2: width - right, y1: y.at(value), y2: y.at(value) }),
      s("text", { class: "num", x: left - 7, y: y.at(value) + 4 }, label(value)));
  }
  for (const value of x.ticks(Math.max(2, (width - left - right) / 80))) {
    svg.append(s("text", { x: x.at(value), y: height - bottom + 17, "text-anchor": "middle" }, label(value)));
  }
  svg.append(
    s("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, style: "stroke:var(--faint)" }),
    s("text", { x: width - right, y: height - 4, "text-anchor": "end" }, xLabel),
    s("text", { x: 4, y: 12 }, yLabel));
  return svg;
}

// series: [{name, color, points: [[x, y]], dots, faint}]; marks: [{x, label, color}] are vertical, levels: [{y, label}] horizontal.
function lineChart(width, { series, xLabel, yLabel, logX, logY, zero, height = 300, marks = [], levels = [], title, xs, whole, of = xLabel }) {
  const box = { left: 62, right: 16, top: 26 + 16 * marks.length, bottom: 38, xLabel, yLabel };
  const points = series.flatMap((each) => each.points);
  const x = scale([...points.map((p) => p[0]), ...marks.map((m) => m.x), ...(xs || [])], box.left, width - box.right, { log: logX, whole });
  const y = scale([...points.map((p) => p[1]), ...levels.map((l) => l.y)], height - box.bottom, box.top, { log: logY, zero, pad: 0.04 });
  const svg = frame(width, height, x, y, box);
  svg.setAttribute("aria-label", title);
  for (const each of levels) {
    svg.append(
      s("line", { x1: box.left, x2: width - box.right, y1: y.at(each.y), y2: y.at(each.y), stroke: "var(--soft)", "stroke-dasharray": "5 4" }),
      s("text", { class: "ink", x: width - box.right, y: y.at(each.y) - 5, "text-anchor": "end" }, each.label));
  }
  marks.forEach((mark, row) => {
    const at = x.at(mark.x), right = at > width * 0.6;
    svg.append(
      s("line", { x1: at, x2: at, y1: box.top - 4 - 16 * (marks.length - 1 - row), y2: height - box.bottom, stroke: mark.color, "stroke-width": 1.5, "stroke-dasharray": "4 3" }),
      s("text", { class: "ink", x: at + (right ? -6 : 6), y: box.top - 1 - 16 * (marks.length - 1 - row), "text-anchor": right ? "end" : "start", style: `fill:${mark.color}` }, mark.label));
  });
  for (const each of series) {
    let path = "", open = false;
    for (const [px, py] of each.points) {
      const good = Number.isFinite(py) && (!logY || py > 0);
      if (good) path += `${open ? "L" : "M"}${x.at(px).toFixed(1)} ${y.at(py).toFixed(1)}`;
      open = good;
      if (good && (each.dots || each.points.length === 1)) svg.append(s("circle", { cx: x.at(px), cy: y.at(py), r: 3, fill: each.color }));
    }
    svg.append(s("path", {
      d: path, fill: "none", stroke: each.color, "stroke-width": each.faint ? 1 : 2, "stroke-opacity": each.faint ? 0.45 : 1,
      "stroke-dasharray": each.dash, "stroke-linejoin": "round",
    }));
  }
  const line = s("line", { y1: box.top, y2: height - box.bottom, stroke: "var(--faint)", visibility: "hidden" });
  svg.append(line, s("rect", { x: 0, y: 0, width, height, fill: "transparent" }));
  const every = [...new Set(points.map((p) => p[0]))].sort((a, b) => a - b);
  const maps = series.map((each) => new Map(each.points.map((p) => [p[0], p[1]])));
  hover(svg, (event) => {
    if (!every.length) return null;
    const [px] = place(svg, event);
    const near = every.reduce((best, each) => (Math.abs(x.at(each) - px) < Math.abs(x.at(best) - px) ? each : best));
    line.setAttribute("x1", x.at(near));
    line.setAttribute("x2", x.at(near));
    line.setAttribute("visibility", "visible");
    const rows = series.map((each, at) => (maps[at].has(near) && maps[at].get(near) !== null ? `${each.name}: ${number(maps[at].get(near))}` : null));
    return [`${of} ${label(near)}`, ...rows.filter(Boolean)].join("\n");
  });
  svg.addEventListener("pointerleave", () => line.setAttribute("visibility", "hidden"));
  return svg;
}

const legend = (series) => h("div", { class: "legend" }, series.map((each) =>
  h("span", {}, h("i", { style: `border-color:${each.color};${each.dash ? "border-top-style:dashed;" : ""}${each.faint ? "opacity:0.45" : ""}` }), each.name)));
