// The report: each section from the data that there is, and a plain word where there is none.

section("title").textContent = DATA.title;
section("facts").append(...DATA.facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
theme(section("theme"));

function adviceSection() {
  const said = DATA.advice.length ? DATA.advice : [DATA.flow ? "Nothing to mend was found in what was measured." : "Nothing was measured that advice could rest on."];
  const parts = (text) => text.split(/((?:bptt|model)\.[\w.]+(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?|--[\w-]+(?: [\w:=,.]+)?)/).map((part, i) => (i % 2 ? h("code", {}, part) : part));
  section("advice").querySelector("ul").append(...said.map((text) => h("li", { class: /blows|grows|not finite|overflow|loses|lost|dies|under 1 %/.test(text) ? "warn" : null }, ...parts(text))));
}

function trainingSection(curves) {
  const unit = DATA.unit || "loss";
  section("training").append(how(`Above: the loss in training${curves.loss.length > 100 ? " (thin: as logged; thick: its running mean)" : ""} and in validation. Validation rising while training falls is overfitting. Below: the norm of the gradient before clipping. Peaks that stand out by powers of ten are explosions; a norm that sinks towards nothing while the loss is still high is a gradient that dies.`));
  if (curves.broken !== null) section("training").append(h("p", { class: "note" }, `The loss is not finite from update ${curves.broken} on.`));
  const lossSeries = [
    { name: "training", color: "var(--blue)", points: curves.loss, faint: curves.loss.length > 100 },
    { name: "training, running mean", color: "var(--blue)", points: curves.loss.length > 100 ? smooth(curves.loss) : [] },
    { name: "validation", color: "var(--orange)", points: curves.validation, dots: true },
  ].filter((each) => each.points.length);
  drawn("training", (width) => lineChart(width, { series: lossSeries, xLabel: "update", yLabel: unit, height: 300, title: "Loss over updates", of: "update" }));
  section("training").append(legend(lossSeries), take("loss", ["update", "training", "validation"], () => {
    const rows = new Map(curves.loss.map(([update, v]) => [update, [update, v, null]]));
    for (const [update, v] of curves.validation) rows.set(update, [update, rows.get(update)?.[1] ?? null, v]);
    return [...rows.values()].sort((a, b) => a[0] - b[0]);
  }));
  const norms = [{ name: "norm of the gradient", color: "var(--purple)", points: curves.norm }];
  const levels = curves.clip ? [{ y: curves.clip, label: `clipped to ${number(curves.clip, 3)}` }] : [];
  drawn("training", (width) => lineChart(width, { series: norms, xLabel: "update", yLabel: "‖gradient‖", logY: true, height: 240, levels, title: "Gradient norm over updates", of: "update" }));
  section("training").append(take("gradient-norm", ["update", "norm"], () => curves.norm));
}

function clippingSection(curves) {
  const box = section("clipping");
  if (curves.clip === null) {
    box.append(h("p", {}, "This run does not clip the norm of its gradient. ", curves.greatest === null ? "" : `The greatest gradient norm in its log is ${number(curves.greatest)}.`));
    return;
  }
  box.append(
    how("Clipping scales a gradient whose norm is above the limit down to it. Active now and then it catches explosions; active nearly always it is a second, hidden learning rate, and the limit or the rate should change."),
    keyed([curves.clipped === null ? "–" : percent(curves.clipped), `of the ${curves.lines} logged updates were clipped`], [number(curves.clip, 3), "the limit"], [number(curves.greatest, 3), "the greatest norm before clipping"]));
}

function observedSection(observed) {
  const box = section("observed"), names = Object.keys(observed.series);
  box.append(how("What the run saw when it looked at its gradient on the way. A horizon that shrinks, or a forget gate that closes, while the loss stays where it is means that the network gives up its memory; a growth or a Lyapunov exponent that rises announces an explosion. Where the horizon was beyond the steps looked at, their number stands in its place."));
  chosen("observed", "What ", names,
    (name, width) => lineChart(width, { series: [{ name, color: "var(--green)", points: observed.series[name], dots: observed.series[name].length <= 60 }], xLabel: "update", yLabel: name, height: 240, title: `${name} over updates`, of: "update" }),
    (name) => [take("observed", ["update", name], () => observed.series[name])]);
  if (observed.warnings.length) box.append(h("h3", {}, "What it warned of"), table(["first at update", "last at", `of ${observed.looks} looks`, "warning, as it was last"], observed.warnings.map(([first, last, looks, text]) => [String(first), String(last), String(looks), text]), [3]));
}

adviceSection();
if (DATA.observed) observedSection(DATA.observed);
else if (DATA.missing.observed) absent("observed", "observed");
else section("observed").append(h("p", { class: "absent" }, "This run did not look at its gradient on the way. It does with ", h("code", {}, "--observe 200"), ", or ", h("code", {}, "bptt.Run(..., observe=bptt.observe.every(200))"), "."));
if (DATA.curves) { trainingSection(DATA.curves); clippingSection(DATA.curves); } else {
  absent("training", "log", "There is no log of a training.");
  absent("clipping", "log", "There is no log of a training.");
}
if (DATA.flow) {
  if (DATA.flow.trouble) section("reach").append(h("p", { class: "note" }, `Not finite: ${DATA.flow.trouble}.`));
  reachSection(DATA.flow);
  errorSection(DATA.flow);
  contributionsSection(DATA.flow);
  truncationSection(DATA.flow);
  weightsSection(DATA.flow);
} else for (const id of ["reach", "contributions", "truncation", "weights"]) absent(id, "flow", "The gradient was not measured.");
if (DATA.spectra) spectraSection(DATA.spectra); else absent("spectra", "spectra", "The Jacobians were not measured.");
if (DATA.units) unitsSection(DATA.units); else absent("gates", "units", "Gates and units were not measured.");
