// What the sections of the report are made of.

const section = (id) => document.getElementById(id);
const how = (text) => h("p", { class: "how" }, text);
const figure = () => h("div", { class: "figure" });
const take = (name, columns, rows) => h("p", { class: "take" }, download(name, columns, rows));
const keyed = (...pairs) => h("div", { class: "key" }, pairs.map(([value, text]) => h("div", {}, h("b", {}, value), h("span", {}, text))));
const absent = (id, name, otherwise) => section(id).append(h("p", { class: "absent", "data-missing": name }, DATA.missing[name] || otherwise));

// A picture with a choice above it: `draw(choice, width)` draws, `choices` are names.
function chosen(id, label, choices, draw, after = () => []) {
  const box = figure(), rest = h("div");
  let now = choices[0], chart = null;
  const select = h("select", { id: `${id}-choice`, onchange: (event) => { now = event.target.value; chart.redraw(); rest.replaceChildren(...after(now)); } },
    choices.map((name) => h("option", { value: name }, name)));
  section(id).append(...(choices.length > 1 ? [h("div", { class: "bar noprint" }, h("label", {}, label, select))] : []), box, rest);
  chart = responsive(box, (width) => draw(now, width));
  rest.append(...after(now));
}

function drawn(id, draw) {
  const box = figure();
  section(id).append(box);
  responsive(box, draw);
}

// A running mean over about a fiftieth of the curve.
function smooth(points) {
  const keep = 1 - 1 / Math.max(1, points.length / 50);
  let total = 0, weight = 0;
  return points.filter((p) => p[1] !== null).map(([x, y]) => {
    total = keep * total + y;
    weight = keep * weight + 1;
    return [x, total / weight];
  });
}
