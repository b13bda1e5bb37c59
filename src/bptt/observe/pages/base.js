// What all pages share: elements, numbers, the theme, hovering, tables to download.

const SVG = "http://www.w3.org/2000/svg";

function element(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const h = (tag, attributes, ...children) => element(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => element(document.createElementNS(SVG, tag), attributes, children);

// Four decimals, or a power of ten where these would hide the number.
function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : "∞";
  const size = Math.abs(value);
  const text = size === 0 || (size >= 10 ** -(digits - 1) && size < 1e5) ? value.toFixed(size >= 1000 ? 1 : digits) : power(value);
  return text.replace("-", "−");
}

function power(value) {
  const [front, exponent] = value.toExponential(1).split("e");
  return `${front}e${exponent.replace("+", "").replace("-", "−")}`;
}

const percent = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(value !== 0 && Math.abs(value) < 0.001 ? 3 : 1)} %` : number(value)).replace("-", "−");

// A number on the page, with its full value and its name for whoever wants to check it.
function shown(key, value, digits = 4) {
  return h("span", { class: "num", "data-key": key, "data-value": value, title: `${key} = ${value}` }, number(value, digits));
}

function theme(button) {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const tell = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.setAttribute("aria-label", "Switch between the light and the dark theme");
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; tell(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
  tell();
}

const tip = {
  box: null,
  show(event, text) {
    if (!this.box) document.body.append((this.box = h("div", { class: "tip", role: "status" })));
    this.box.textContent = text;
    this.box.classList.add("on");
    const { width, height } = this.box.getBoundingClientRect();
    const left = Math.max(8, Math.min(event.clientX + 14, innerWidth - width - 8));
    const above = event.clientY - height - 12;
    this.box.style.left = `${left}px`;
    this.box.style.top = `${above < 8 ? event.clientY + 18 : above}px`;
  },
  hide() { if (this.box) this.box.classList.remove("on"); },
};
addEventListener("scroll", () => tip.hide(), { passive: true });

// `find(event)` gives the text for the place under the pointer, or nothing.
function hover(target, find) {
  target.addEventListener("pointermove", (event) => {
    const text = find(event);
    if (text) tip.show(event, text); else tip.hide();
  });
  target.addEventListener("pointerdown", (event) => { const text = find(event); if (text) tip.show(event, text); });
  target.addEventListener("pointerleave", () => tip.hide());
}

// Where a pointer is, in the units of an SVG's viewBox.
function place(svg, event) {
  const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
  return [((event.clientX - box.left) / box.width) * view.width, ((event.clientY - box.top) / box.height) * view.height];
}

// Numbers stand to the right, but in the columns `words`.
function table(columns, rows, words = [0]) {
  const cell = (tag, at, content) => h(tag, { class: words.includes(at) ? null : "num" }, content);
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((name, at) => cell("th", at, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((content, at) => cell("td", at, content)))))));
}

function csv(columns, rows) {
  const quote = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(quote).join(",")).join("\n") + "\n";
}

// The table under a picture, as a data: link; it is written out only when it is asked for.
function download(name, columns, rows) {
  const link = h("a", { class: "noprint", download: `${name}.csv`, href: "data:text/csv;charset=utf-8,", "data-table": name }, "Table (CSV)");
  const fill = () => { link.href = "data:text/csv;charset=utf-8," + encodeURIComponent(csv(columns, rows())); };
  for (const when of ["pointerenter", "focus", "click"]) link.addEventListener(when, fill);
  return link;
}
