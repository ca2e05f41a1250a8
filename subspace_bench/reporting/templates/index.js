// Tables to sort and filter, charts, and records, from the JSON in #data. No network, no storage.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 700px)");
const unique = (values) => [...new Set(values)];
const extent = (numbers) => numbers.reduce(([low, high], n) => [Math.min(low, n), Math.max(high, n)], [Infinity, -Infinity]);
const thousands = (number) => number.toLocaleString("en-US");
const size = (label) => (label === "D" ? Infinity : Number(label.replaceAll(",", "")));

function element(tag, content = "", attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...[content].flat());
  return made;
}

function td(content) { // short texts stay in one line
  return element("td", content, { className: content.length < 26 ? "short" : "" });
}

function fill(select, values, chosen = values[0]) {
  select.replaceChildren(...values.map((v) => element("option", String(v), { value: v })));
  select.value = values.map(String).includes(String(chosen)) ? chosen : values[0];
}

// ---- tables: rows of {cells: texts, row: <tr>, or build: () => <tr>} -------------------------

const UNITS = { k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

function key(text) { // a number if the cell starts with one, "33 MB" in bytes; else the text
  const found = /^[<≥~+“]*\s*([-−]?[\d,]*\.?\d+(?:e[-+]?\d+)?)\s*([kMGT](?=i?B))?/.exec(text.trim());
  if (!found) return text.trim() ? [1, text.toLowerCase()] : [2, ""];
  const number = Number(found[1].replaceAll(",", "").replace("−", "-"));
  return [0, number * (found[2] ? UNITS[found[2].toLowerCase()] : 1)];
}

function compare(a, b) {
  if (a[0] !== b[0]) return a[0] - b[0];
  return a[0] === 0 ? a[1] - b[1] : a[1].localeCompare(b[1]);
}

function sortable(table, rows, limit = Infinity) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const filter = element("input", [], { type: "search", placeholder: "Filter rows" });
  const label = table.getAttribute("aria-label") || "table";
  filter.setAttribute("aria-label", `Filter rows of ${label}`);
  const count = element("span"), more = element("button", "", { type: "button" });
  count.setAttribute("role", "status");
  let sorted = rows, shown = limit;
  const render = () => {
    const wanted = filter.value.toLowerCase();
    const found = sorted.filter((r) => r.cells.join("\t").toLowerCase().includes(wanted));
    body.replaceChildren(...found.slice(0, shown).map((r) => (r.row ??= r.build())));
    count.textContent = `${thousands(found.length)} of ${thousands(rows.length)} rows`;
    more.hidden = found.length <= shown;
    more.textContent = `Show ${thousands(Math.min(limit, found.length - shown))} more`;
  };
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = element("button", head.textContent, { type: "button" });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keys = new Map(rows.map((r) => [r, key(r.cells[column])]));
      sorted = [...rows].sort((a, b) => compare(keys.get(a), keys.get(b)) * (down ? -1 : 1));
      render();
    });
  });
  filter.addEventListener("input", () => { shown = limit; render(); });
  more.addEventListener("click", () => { shown += limit; render(); });
  const scroll = element("div", [], { className: "scroll", tabIndex: 0 });
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `${label}, scrolls`);
  table.before(...(rows.length > 5 ? [element("div", [filter, count], { className: "tools" })] : []), scroll);
  scroll.append(table);
  scroll.after(more);
  render();
}

function makeTable(container, label, columns, rows, limit) {
  const heads = columns.map((name) => element("th", name, { scope: "col" }));
  const table = element("table", [element("thead", element("tr", heads)), element("tbody")]);
  table.setAttribute("aria-label", label);
  container.replaceChildren(table);
  sortable(table, rows, limit);
}

function enhance(table) {
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, cells: [...row.cells].map((c) => c.textContent) }));
  for (const { row } of rows) for (const c of row.cells) c.classList.toggle("short", c.textContent.length < 26);
  if (rows.some(({ row }) => row.dataset.records)) {
    table.tHead.rows[0].append(element("th", "records", { scope: "col" }));
    for (const each of rows) {
      const ids = (each.row.dataset.records || "").split(" ").filter(Boolean).map(Number);
      const title = [...each.row.cells].slice(0, 3).map((c) => c.textContent).join(" · ");
      each.row.append(td(ids.length ? opener(String(ids.length), title, ids) : ""));
      each.cells.push(String(ids.length));
    }
  }
  sortable(table, rows);
}

// ---- records ---------------------------------------------------------------------------------

function flat(id) {
  const [name, config, seed, accuracy, end, diverged, seconds, memory, machine, revision, local] = data.records[id];
  return {
    seed, "accuracy, %": accuracy ?? "none", "accuracy at the end, %": end ?? "none",
    ...(diverged == null ? {} : { "diverged at update": diverged }),
    "training, s": seconds, "peak memory, MB": memory, ...data.configs[config],
    ...data.machines[machine], ...data.revisions[revision], record: name, local,
  };
}

function recordLink(name, local) {
  return element("a", `${name}.json`, { href: `${local ? "runs" : "records"}/${encodeURIComponent(name)}.json` });
}

function opener(text, title, ids) {
  const button = element("button", text, { type: "button" });
  button.setAttribute("aria-label", `Show ${ids.length} records: ${title}`);
  button.addEventListener("click", () => showRecords(title, ids));
  return button;
}

function showRecords(title, ids) { // what all records share as a list, what differs as a table
  const records = ids.map(flat), names = unique(records.flatMap(Object.keys)).filter((n) => n !== "local");
  const same = names.filter((n) => records.every((r) => r[n] === records[0][n]));
  const differs = names.filter((n) => !same.includes(n));
  const cell = (record, name) => (name === "record" ? recordLink(record.record, record.local) : String(record[name] ?? ""));
  $("dialog-title").textContent = `${records.length} record${records.length > 1 ? "s" : ""}: ${title}`;
  const shared = element("dl", same.map((n) => element("div", [element("dt", n), element("dd", cell(records[0], n))])));
  const place = element("div");
  $("dialog-body").replaceChildren(place, element("h3", records.length > 1 ? "The same in all of them" : "The record"), shared);
  if (differs.length) {
    const rows = records.map((record) => ({
      cells: differs.map((n) => String(record[n] ?? "")),
      build: () => element("tr", differs.map((n) => td(cell(record, n)))),
    }));
    makeTable(place, "records", differs, rows, 100);
  }
  if (!$("dialog").open) $("dialog").showModal();
}

function listRecords() {
  const columns = ["model", "init", "dim", "projector", "draws", "steps", "seed", "accuracy, %", "dataset", "revision"];
  const rows = data.records.map((record, id) => {
    const all = flat(id), cells = columns.map((name) => String(all[name] ?? "").slice(0, 12));
    if (all.local) cells[0] += " (local)";
    cells[2] = all.dim ?? "D";
    const build = () => element("tr", [...cells, opener("open", record[0], [id])].map(td));
    return { cells: [...cells, record[0]], build };
  });
  makeTable($("records-table"), "all records", [...columns, ""], rows, 50);
}

// ---- charts ----------------------------------------------------------------------------------

function isDark() {
  return (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
}
const PALETTES = {
  light: ["#0b6bcb", "#b45309", "#047857", "#be185d", "#6d28d9", "#0e7490", "#4b5563"],
  dark: ["#60a5fa", "#fbbf24", "#34d399", "#f472b6", "#a78bfa", "#22d3ee", "#d1d5db"],
};

function draw(id, label, spec, onRecords = () => {}) {
  const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
  const [text, line] = [colour("--text"), colour("--line")];
  const full = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json", description: label, width: "container",
    height: 330, autosize: { type: "fit-x", contains: "padding" }, ...spec,
    config: {
      background: "transparent", font: "system-ui, sans-serif", view: { stroke: null },
      axis: { labelColor: text, titleColor: text, gridColor: line, gridOpacity: 0.6, domainColor: line, tickColor: line,
        labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
      legend: { labelColor: text, titleColor: text, labelFontSize: 12, orient: narrow.matches ? "bottom" : "right",
        symbolOpacity: 1, columns: narrow.matches ? 2 : 1, labelLimit: 240, symbolLimit: 40, title: null },
      range: { category: PALETTES[isDark() ? "dark" : "light"] }, mark: { color: text },
    },
  };
  const options = { actions: false, renderer: "svg", tooltip: { theme: isDark() ? "dark" : "light" } };
  vegaEmbed($(id), full, options).then(({ view }) => {
    view.addEventListener("click", (event, item) => item?.datum && onRecords(item.datum.datum ?? item.datum));
  });
}

const POWERS = { format: "~s", values: [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => 10 ** n) };
const SOURCES = { domain: ["ours", "the post", "local"], range: ["circle", "cross", "square"] };

function drawAnswer() {
  const series = $("answer-series").value, low = Number($("answer-axis").value);
  const values = data.answer.filter((r) => (series === "all" || r.series === series) && r.accuracy >= low)
    .map((r) => ({ ...r, low: Math.max(r.low ?? r.accuracy, low), high: r.high ?? r.accuracy }));
  const x = { field: "trained", type: "quantitative", scale: { type: "log", domain: extent((values.length ? values : data.answer).map((r) => r.trained)), padding: 12 }, title: "trained parameters", axis: POWERS };
  const scale = { domain: [low, 100], nice: false };
  const color = { field: "series", type: "nominal", scale: { domain: unique(data.answer.map((r) => r.series)) } };
  draw("answer-chart", "Test accuracy over the number of trained parameters", {
    data: { values },
    encoding: { x, color },
    layer: [
      { transform: [{ filter: "datum.joined" }], mark: { type: "line", opacity: 0.35, strokeWidth: 1.5 },
        encoding: { y: { field: "accuracy", type: "quantitative", scale }, detail: { field: "source" } } },
      { mark: { type: "rule", strokeWidth: 2 }, encoding: { y: { field: "low", type: "quantitative", scale }, y2: { field: "high" } } },
      { mark: { type: "point", filled: true, size: 80, opacity: 1, cursor: "pointer" }, encoding: {
        y: { field: "accuracy", type: "quantitative", scale, title: "test accuracy, %" },
        shape: { field: "source", type: "nominal", scale: SOURCES },
        tooltip: [{ field: "series", title: "training" }, { field: "source" }, { field: "trained", title: "trained parameters", format: "," },
          { field: "text", title: "accuracy, %" }] } },
    ],
  }, (d) => d.records?.length && showRecords(`${d.series}, ${thousands(d.trained)} trained parameters`, d.records));
}

function shownCurves() {
  const [net, start, d] = ["net", "start", "d"].map((name) => $(`curves-${name}`).value);
  return data.curves.filter((c) => c.net === net && c.start === start && (d === "all" || c.d === d));
}

function drawCurves() {
  const shown = shownCurves(), choice = $("curves-seed").value, values = [];
  for (const curve of shown) {
    for (const source of ["ours", "local"].filter((name) => curve[name])) {
      const { steps, mean, seeds, values: scores } = curve[source];
      const lines = choice === "mean" ? [["mean", mean]] : seeds.map((seed, i) => [seed, scores[i]])
        .filter(([seed]) => choice === "every" || String(seed) === choice);
      for (const [seed, accuracies] of lines) {
        steps.forEach((step, i) => {
          const [low, high] = extent(scores.map((s) => s[i]));
          const range = seed === "mean" ? { low, high } : {};
          const line = seed === "mean" ? `mean of ${seeds.length}, from ${low.toFixed(2)} to ${high.toFixed(2)}` : `seed ${seed}`;
          values.push({ d: curve.d, source, line, seed, step, accuracy: accuracies[i], ...range });
        });
      }
    }
    for (const [step, accuracy] of curve.post) values.push({ d: curve.d, source: "the post", line: "published", step, accuracy });
  }
  const sizes = unique(data.curves.map((c) => c.d)).sort((a, b) => size(a) - size(b)).filter((d) => shown.some((c) => c.d === d));
  const encoding = {
    x: { field: "step", type: "quantitative", title: "step", scale: { domain: [0, extent(values.map((v) => v.step))[1]] } },
    y: { field: "accuracy", type: "quantitative", title: "test accuracy, %", scale: { domain: [Number($("curves-axis").value), 100] } },
    color: { field: "d", type: "nominal", sort: sizes, scale: { domain: sizes }, legend: { title: "d" } },
  };
  const trained = { filter: "datum.source !== 'the post'" };
  draw("curves-chart", "Test accuracy over steps of training, ours and the post's points", {
    data: { values }, encoding,
    layer: [
      { transform: [{ filter: "isValid(datum.low)" }], mark: { type: "area", opacity: 0.2, clip: true },
        encoding: { y: { field: "low", type: "quantitative" }, y2: { field: "high" }, detail: { field: "source" } } },
      { transform: [trained], mark: { type: "line", strokeWidth: 1.6, clip: true }, encoding: { detail: [{ field: "seed" }],
        strokeDash: { field: "source", type: "nominal", legend: null, scale: { domain: ["ours", "local"], range: [[1, 0], [5, 3]] } } } },
      { transform: [{ filter: "datum.source === 'the post'" }], mark: { type: "point", clip: true, filled: true, size: 34, opacity: 1, strokeWidth: 0.7, stroke: isDark() ? "#fff" : "#000" } },
      { params: [{ name: "near", select: { type: "point", on: "pointerover", clear: "pointerout" } }],
        mark: { type: "point", clip: true, filled: true, size: 150 },
        encoding: { opacity: { condition: { param: "near", empty: false, value: 1 }, value: 0 },
          tooltip: [{ field: "d" }, { field: "source" }, { field: "step", format: "," },
            { field: "accuracy", title: "accuracy, %", format: ".2f" }, { field: "line", title: "seeds" }] } },
    ],
  });
}

function updateCurves(changed) {
  const start = data.curves.filter((c) => c.net === $("curves-net").value);
  if (changed === "net") {
    fill($("curves-start"), unique(start.map((c) => c.start)));
    $("curves-axis").value = $("curves-net").value.includes("100 epochs") ? 85 : 0; // where they differ
  }
  const now = start.filter((c) => c.start === $("curves-start").value);
  if (changed !== "d") fill($("curves-d"), ["all", ...unique(now.map((c) => c.d))], $("curves-d").value);
  const seeds = unique(shownCurves().flatMap((c) => [...(c.ours?.seeds ?? []), ...(c.local?.seeds ?? [])])).sort((a, b) => a - b);
  fill($("curves-seed"), ["mean", "every", ...seeds], $("curves-seed").value);
  drawCurves();
}

function choose(changed) {
  const { rows, device, versions } = data.projectors[$("choose-device").selectedIndex];
  if (changed === "device") fill($("choose-D"), unique(rows.map((r) => r.D)), $("choose-D").value);
  const native = Number($("choose-D").value), atNative = rows.filter((r) => r.D === native);
  const dims = unique(atNative.map((r) => r.d)).sort((a, b) => a - b);
  fill($("choose-d"), dims, $("choose-d").value || 1000);
  for (const select of [$("choose-D"), $("choose-d")]) for (const o of select.options) o.textContent = thousands(Number(o.value));
  const here = atNative.filter((r) => r.d === Number($("choose-d").value)), best = here.find((r) => !r.why);
  $("choose-answer").textContent = best
    ? `Take ${best.projector}: ${best.time} ms forward and transpose, ${best.memory} of memory.`
    : "No measured projector meets the rule at this size.";
  const columns = ["projector", "forward + transpose, ms", "peak memory", "set-up, s", "accuracy − best, points", "take it?", "revision"];
  makeTable($("choose-table"), "projectors at this size", columns, here.map((r) => {
    const cells = [r.projector, r.time, r.memory, `${r.setup}`, r.accuracy, r === best ? "yes, the fastest" : r.why || "slower", r.revision];
    return { cells, build: () => element("tr", cells.map(td), { className: r === best ? "take" : "" }) };
  }));
  $("choose-machine").textContent = `Measured on ${device}; ${versions}.`;
  drawCosts();
}

function drawCosts() {
  const { rows } = data.projectors[$("choose-device").selectedIndex], d = Number($("choose-d").value);
  const measure = $("cost-measure"), names = unique(rows.map((r) => r.projector)).sort();
  const dashes = names.map((_, i) => (i < 7 ? [1, 0] : [4, 3]));
  const tooltip = [{ field: "projector" }, { field: "D", format: "," }, { field: "time", title: "forward + transpose, ms" },
    { field: "memory", title: "peak memory" }, { field: "setup", title: "set-up, s" }, { field: "why", title: "not taken because" }];
  draw("cost-chart", `${measure.selectedOptions[0].textContent} of each projector over D`, {
    data: { values: rows.filter((r) => r.d === d && r[measure.value] > 0) },
    mark: { type: "line", point: { filled: true, size: 45 } },
    encoding: {
      x: { field: "D", type: "quantitative", scale: { type: "log" }, axis: POWERS },
      y: { field: measure.value, type: "quantitative", scale: { type: "log" }, title: measure.selectedOptions[0].textContent,
        axis: { format: measure.value === "peak" ? "~s" : "~g", tickCount: 6 } },
      color: { field: "projector", type: "nominal", scale: { domain: names } },
      strokeDash: { field: "projector", type: "nominal", scale: { domain: names, range: dashes } }, tooltip,
    },
  });
}

// ---- the page --------------------------------------------------------------------------------

function drawAll() {
  if (data.answer.length) drawAnswer();
  if (data.curves.length) drawCurves();
  if (data.projectors.length) drawCosts();
}

function openTarget() { // of a link to a page, which is closed
  const target = location.hash && $(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
}

function start() {
  document.querySelectorAll("details table").forEach(enhance);
  listRecords();
  fill($("answer-series"), ["all", ...unique(data.answer.map((r) => r.series))]);
  fill($("curves-net"), unique(data.curves.map((c) => c.net)));
  fill($("choose-device"), data.projectors.map((p) => p.device));
  for (const name of ["series", "axis"]) $(`answer-${name}`).addEventListener("change", drawAnswer);
  if (data.answer.length) drawAnswer(); else $("answer-chart").textContent = "No records yet.";
  for (const name of ["net", "start", "d"]) $(`curves-${name}`).addEventListener("change", () => updateCurves(name));
  for (const name of ["seed", "axis"]) $(`curves-${name}`).addEventListener("change", drawCurves);
  if (data.curves.length) updateCurves("net"); else $("curves-chart").textContent = "No records yet.";
  $("curves-records").addEventListener("click", () => {
    const ids = shownCurves().flatMap((c) => [...(c.ours?.records ?? []), ...(c.local?.records ?? [])]);
    if (ids.length) showRecords(["net", "start"].map((n) => $(`curves-${n}`).value).join(", "), ids);
  });
  for (const name of ["device", "D", "d"]) $(`choose-${name}`).addEventListener("change", () => choose(name));
  $("cost-measure").addEventListener("change", drawCosts);
  if (data.projectors.length) choose("device");
  $("open-all").addEventListener("click", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; drawAll(); });
  for (const query of [dark, narrow]) query.addEventListener("change", drawAll);
  addEventListener("hashchange", openTarget);
  openTarget();
}

start();
