"use strict";
// Theme, sorting, and the sliders. `decide` ranks by the medians exactly as selection/ranking.py does; a test in a real
// browser holds the two together.

const SECONDS_BILLED_AT_LEAST = 60;
const STEPS = 1000;
const ERRORS_ONLY = 1; // Vega warns of the instant before a named data set has arrived

// --- the rule ------------------------------------------------------------------------------------------------------

function score(row, terms) {
  const hours = row.one_off_h + terms.samples * row.hours_per_sample;
  const cost = (Math.max(hours * 3600, SECONDS_BILLED_AT_LEAST) * row.hourly_usd) / 3600;
  const value = cost ** terms.cost_weight * hours ** (1 - terms.cost_weight);
  const missed = Math.max(hours / terms.deadline - 1, cost / terms.budget - 1);
  return { ...row, hours, cost, value, over: missed > 1e-12 ? missed : 0 };
}

// Twelve digits: candidates that tie in exact arithmetic tie here.
const compared = (one) => Number((one.over || one.value).toPrecision(12));

function better(a, b) {
  return (
    (a.over > 0) - (b.over > 0) || compared(a) - compared(b) || a.hourly_usd - b.hourly_usd || (a.instance < b.instance ? -1 : 1)
  );
}

function decide(data, terms) {
  const ordered = data.rows.map((row) => score(row, terms)).sort(better);
  const chosen = ordered.length && ordered[0].over === 0 ? ordered[0] : null;
  return { ordered, chosen };
}

const dominates = (a, b) => a.hours <= b.hours && a.cost <= b.cost && (a.hours < b.hours || a.cost < b.cost);

// --- how numbers read (selection/wording.py) -----------------------------------------------------------------------

function number(value) {
  if (Math.abs(value) >= 99.95) return Math.round(value).toLocaleString("en-US");
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
  if (value === 0) return "0";
  return value.toLocaleString("en-US", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
}
const plain = (value) => number(value).replace(/\.0+$/, ""); // what was asked, not found: "given" in Python
const usd = (value) =>
  (value >= 1 ? value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) : number(value)) + " USD";
function percent(share) {
  const digits = 100 * share >= 10 ? 0 : 1;
  return (100 * share).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }) + "\u00a0%";
}
const mark = (source) => (source === "estimated" || source === "extrapolated" ? "~" : "");
const both = (one) => `${mark(one.source)}${number(one.hours)} h, ${mark(one.source)}${usd(one.cost)}`;

// --- what if -------------------------------------------------------------------------------------------------------

function asked(data) {
  return { samples: data.job_samples, deadline: data.deadline_h, budget: data.budget_usd, objective: data.objective };
}

function sentence(answer, terms, superlative) {
  const limits = [];
  if (isFinite(terms.deadline)) limits.push(`${plain(terms.deadline)} h`);
  if (isFinite(terms.budget)) limits.push(usd(terms.budget));
  const within = limits.length ? ` within ${limits.join(" and ")}` : "";
  if (answer.chosen) return `${answer.chosen.instance} is ${superlative}${within}: ${both(answer.chosen)}.`;
  const nearest = answer.ordered[0];
  if (!nearest) return "Nothing with a number may be chosen.";
  return `Nothing fits${within}. ${nearest.instance} comes closest, ${mark(nearest.source)}${percent(nearest.over)} over: ${both(nearest)}.`;
}

function command(data, given) {
  const limit = (value) => (value === null ? "null" : value);
  const terms = [`objective=${given.objective}`, `${data.job_field}=${given.samples}`];
  terms.push(`job.deadline_h=${limit(given.deadline)}`, `job.budget_usd=${limit(given.budget)}`);
  return `python -m yocobench.compare ${terms.join(" ")}`;
}

// The points of chart.py's `points`. Intervals are known for the job as asked only.
function points(data, answer, terms) {
  const sameJob = terms.samples === data.job_samples;
  const known = new Map(data.spec.datasets.points.map((point) => [point.instance, point]));
  const shown = answer.ordered.map((one) => {
    const front = !answer.ordered.some((other) => dominates(other, one));
    const chosen = one === answer.chosen;
    const old = known.get(one.instance);
    const ends = sameJob ? {} : { hours_low: one.hours, hours_high: one.hours, cost_low: one.cost, cost_high: one.cost };
    const [time, bill] = both(one).split(", ");
    const label = chosen || front || one.instance === data.baseline ? one.instance : "";
    return { ...old, ...ends, hours: one.hours, cost: one.cost, front, chosen, time, bill, label };
  });
  return shown.sort((a, b) => a.hours - b.hours);
}

// Limits that are drawn and those that are only told, as chart.py's `data`.
function limits(data, shown, given) {
  const near = (limit, key) =>
    !shown.length ||
    (limit >= Math.min(...shown.map((one) => one[`${key}_low`])) / data.labels.far &&
      limit <= Math.max(...shown.map((one) => one[`${key}_high`])) * data.labels.far);
  const all = [];
  if (given.deadline !== null) all.push({ name: "deadline", key: "hours", limit: given.deadline, text: `deadline ${plain(given.deadline)} h` });
  if (given.budget !== null) all.push({ name: "budget", key: "cost", limit: given.budget, text: `budget ${usd(given.budget)}` });
  const drawn = all.filter((one) => near(one.limit, one.key));
  const told = all.filter((one) => !drawn.includes(one)).map((one) => `${one.text}: beyond the chart`);
  const of = (name) => drawn.filter((one) => one.name === name).map((one) => ({ [one.key]: one.limit, text: one.text }));
  return { deadline: of("deadline"), budget: of("budget"), beyond: told.length ? [{ text: told.join(", ") }] : [] };
}

// labels.py's `place`.
function place(shown, drawn, numbers, width, height) {
  const axis = (values, start, end) => {
    const logs = values.filter((value) => value > 0).map(Math.log); // a bill of nothing stands at the start
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    return (value) => (value > 0 ? start + (high > low ? (Math.log(value) - low) / (high - low) : 0.5) * (end - start) : start);
  };
  const ends = (key, asked) => [...asked.map((one) => one[key]), ...shown.flatMap((one) => [one[`${key}_low`], one[`${key}_high`]])];
  const at = axis(ends("hours", drawn.deadline), numbers.padding, width - numbers.padding);
  const up = axis(ends("cost", drawn.budget), height - numbers.padding, numbers.padding);
  const around = (x, y, half) => [x - half, x + half, y - half, y + half];
  const meets = (a, b) => a[0] < b[1] && b[0] < a[1] && a[2] < b[3] && b[2] < a[3];
  const marks = (half) => shown.map((one) => around(at(one.hours), up(one.cost), half));
  const [points, close] = [marks(numbers.point), marks(numbers.point + numbers.close)];
  const lines = shown.map((one) => [at(one.hours_low), at(one.hours_high), up(one.cost), up(one.cost) + 1]);
  lines.push(...shown.map((one) => [at(one.hours), at(one.hours) + 1, up(one.cost_high), up(one.cost_low)]));
  const taken = [];
  for (const one of [...shown].sort((a, b) => b.chosen - a.chosen)) {
    const others = close.filter((_, i) => shown[i] !== one);
    const size = numbers.character * one.label.length;
    let best = null;
    numbers.places.forEach(([dx, dy, align], later) => {
      const left = at(one.hours) + dx - size * numbers.shares[align];
      const box = [left, left + size, up(one.cost) + dy - numbers.line / 2, up(one.cost) + dy + numbers.line / 2];
      let price = later * numbers.later;
      if (box[0] < 0 || box[1] > width || box[2] < 0 || box[3] > height) price += numbers.outside;
      for (const [each, met] of [["on_label", taken], ["on_point", points], ["by_point", others], ["on_line", lines]])
        price += numbers[each] * met.filter((other) => meets(box, other)).length;
      if (!best || price < best.price) best = { price, box, dx, dy, align };
    });
    Object.assign(one, { dx: best.dx, dy: best.dy, align: best.align });
    if (one.label) taken.push(best.box);
  }
  return shown;
}

function whatIf(data, form, view) {
  const field = (name) => form.querySelector(`[data-term="${name}"]`);
  const slider = (name) => form.querySelector(`[data-slides="${name}"]`);
  const middle = { samples: data.job_samples, deadline: data.deadline_h, budget: data.budget_usd };
  for (const name of ["deadline", "budget"]) {
    const key = name === "deadline" ? "hours" : "cost";
    const all = data.rows.map((row) => score(row, { samples: data.job_samples, cost_weight: 1 })[key]).sort((a, b) => a - b);
    middle[name] = middle[name] ?? (all.length ? all[Math.floor(all.length / 2)] : 1);
  }
  // A thousandth to a thousand times the term as asked.
  const toValue = (name, step) => Number((middle[name] * 10 ** ((6 * step) / STEPS - 3)).toPrecision(3));
  const toStep = (name, value) => ((Math.log10(value / middle[name]) + 3) / 6) * STEPS;

  function read() {
    const numberOf = (name) => {
      const value = field(name).valueAsNumber;
      return value > 0 ? value : null;
    };
    return {
      samples: numberOf("samples") ?? data.job_samples,
      deadline: numberOf("deadline"),
      budget: numberOf("budget"),
      objective: field("objective").value,
    };
  }

  function show() {
    const given = read();
    const rule = data.objectives[given.objective];
    const terms = { ...given, deadline: given.deadline ?? Infinity, budget: given.budget ?? Infinity, cost_weight: rule.cost_weight };
    const answer = decide(data, terms);
    form.dataset.chosen = answer.chosen ? answer.chosen.instance : "";
    form.dataset.hours = answer.chosen ? answer.chosen.hours : "";
    form.dataset.cost = answer.chosen ? answer.chosen.cost : "";
    form.querySelector("output").textContent = sentence(answer, terms, rule.superlative);
    form.querySelector("[data-command]").textContent = command(data, given);
    form.querySelector(".ranking").replaceChildren(
      ...answer.ordered.map((one) => {
        const item = document.createElement("li");
        item.textContent = `${one.instance}: ${both(one)}`;
        if (one.over) {
          const over = item.appendChild(document.createElement("span"));
          over.className = "over";
          over.textContent = `, ${mark(one.source)}${percent(one.over)} over`;
        }
        return item;
      }),
    );
    if (!view) return;
    const shown = points(data, answer, terms);
    const drawn = limits(data, shown, given);
    view.data("points", place(shown, drawn, data.labels, view.width(), view.height()));
    for (const [name, values] of Object.entries(drawn)) view.data(name, values);
    view.runAsync();
  }

  function write(given) {
    for (const name of ["samples", "deadline", "budget"]) {
      field(name).value = given[name] ?? "";
      slider(name).value = given[name] === null ? STEPS : toStep(name, given[name]);
    }
    field("objective").value = given.objective;
    show();
  }

  form.addEventListener("input", (event) => {
    const slid = event.target.dataset.slides;
    const typed = event.target.dataset.term;
    if (slid) field(slid).value = toValue(slid, event.target.valueAsNumber);
    if (typed && slider(typed) && event.target.value > 0) slider(typed).value = toStep(typed, event.target.valueAsNumber);
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("[data-reset]").addEventListener("click", () => write(asked(data)));
  form.hidden = false;
  write(asked(data));
}

// --- the page ------------------------------------------------------------------------------------------------------

function themes(button) {
  const dark = () => {
    const set = document.documentElement.dataset.theme;
    return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const name = () => (button.textContent = dark() ? "Light theme" : "Dark theme");
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  button.hidden = false;
  name();
}

function sortable(table) {
  const key = (row, column) => {
    const cell = row.cells[column];
    return "key" in cell.dataset ? (cell.dataset.key === "" ? Infinity : Number(cell.dataset.key)) : cell.textContent;
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
      rows.sort(([a], [b]) => {
        if (a === Infinity || b === Infinity) return (a === Infinity) - (b === Infinity); // unknown stays last
        return (down ? -1 : 1) * (typeof a === "number" ? a - b : a.localeCompare(b));
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

// A picture with a name and a text beside it. Vega calls it a document; its parts say nothing to a screen reader.
async function draw(place, spec) {
  const drawn = await vegaEmbed(place, spec, { actions: false, renderer: "svg", mode: "vega-lite", logLevel: ERRORS_ONLY });
  place.setAttribute("role", "img");
  place.removeAttribute("aria-roledescription");
  place.querySelector("svg").setAttribute("aria-hidden", "true");
  return drawn.view;
}

async function start() {
  themes(document.getElementById("theme"));
  document.querySelectorAll("table.sortable").forEach(sortable);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  const all = JSON.parse(document.getElementById("data").textContent);
  for (const [i, data] of all.entries()) {
    const place = document.getElementById(`chart-${i}`);
    const spec = structuredClone(data.spec); // Vega marks the points that it is given; ours stay as they are
    whatIf(data, document.getElementById(`whatif-${i}`), spec.datasets.points.length ? await draw(place, spec) : null);
  }
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  for (const [id, spec] of Object.entries(pictures)) await draw(document.getElementById(id), spec);
  document.documentElement.dataset.ready = "yes";
}
start();
