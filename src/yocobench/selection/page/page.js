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
  shown.sort((a, b) => a.hours - b.hours);
  shown.filter((point) => point.label).forEach((point, i) => (point.level = i % data.label_levels));
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
    view.data("points", points(data, answer, terms));
    view.data("deadline", given.deadline === null ? [] : [{ hours: given.deadline, text: `deadline ${plain(given.deadline)} h` }]);
    view.data("budget", given.budget === null ? [] : [{ cost: given.budget, text: `budget ${usd(given.budget)}` }]);
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
