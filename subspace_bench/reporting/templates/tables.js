// Tables to sort and filter, and records, from the JSON in #data; charts.js uses what is here.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)"),
  narrow = matchMedia("(max-width: 700px)");
const unique = (values) => [...new Set(values)];
const extent = (numbers) =>
  numbers.reduce(([low, high], n) => [Math.min(low, n), Math.max(high, n)], [Infinity, -Infinity]);
const thousands = (number) => number.toLocaleString("en-US");
const size = (label) => (label === "D" ? Infinity : Number(label.replaceAll(",", "")));

function element(tag, content = "", attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...[content].flat());
  return made;
}

function td(content) {
  // short texts stay in one line
  return element("td", content, { className: content.length < 26 ? "short" : "" });
}

function fill(select, values, chosen = values[0]) {
  select.replaceChildren(...values.map((v) => element("option", String(v), { value: v })));
  select.value = values.map(String).includes(String(chosen)) ? chosen : values[0];
}

// ---- tables: rows of {cells: texts, row: <tr>, or build: () => <tr>} -------------------------

const UNITS = { k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

function key(text) {
  // a number if the cell starts with one, "33 MB" in bytes; else the text
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
  const body = table.tBodies[0],
    heads = [...table.tHead.rows[0].cells];
  const filter = element("input", [], { type: "search", placeholder: "Filter rows" });
  const label = table.getAttribute("aria-label") || "table";
  filter.setAttribute("aria-label", `Filter rows of ${label}`);
  const count = element("span"),
    more = element("button", "", { type: "button" });
  count.setAttribute("role", "status");
  let sorted = rows,
    shown = limit;
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
  filter.addEventListener("input", () => {
    shown = limit;
    render();
  });
  more.addEventListener("click", () => {
    shown += limit;
    render();
  });
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
      const title = [...each.row.cells]
        .slice(0, 3)
        .map((c) => c.textContent)
        .join(" · ");
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
    seed,
    "accuracy, %": accuracy ?? "none",
    "accuracy at the end, %": end ?? "none",
    ...(diverged == null ? {} : { "diverged at update": diverged }),
    "training, s": seconds,
    "peak memory, MB": memory,
    ...data.configs[config],
    ...data.machines[machine],
    ...data.revisions[revision],
    record: name,
    local,
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

function showRecords(title, ids) {
  // what all records share as a list, what differs as a table
  const records = ids.map(flat),
    names = unique(records.flatMap(Object.keys)).filter((n) => n !== "local");
  const same = names.filter((n) => records.every((r) => r[n] === records[0][n]));
  const differs = names.filter((n) => !same.includes(n));
  const cell = (record, name) =>
    name === "record" ? recordLink(record.record, record.local) : String(record[name] ?? "");
  $("dialog-title").textContent = `${records.length} record${records.length > 1 ? "s" : ""}: ${title}`;
  const shared = element(
    "dl",
    same.map((n) => element("div", [element("dt", n), element("dd", cell(records[0], n))])),
  );
  const place = element("div");
  $("dialog-body").replaceChildren(
    place,
    element("h3", records.length > 1 ? "The same in all of them" : "The record"),
    shared,
  );
  if (differs.length) {
    const rows = records.map((record) => ({
      cells: differs.map((n) => String(record[n] ?? "")),
      build: () =>
        element(
          "tr",
          differs.map((n) => td(cell(record, n))),
        ),
    }));
    makeTable(place, "records", differs, rows, 100);
  }
  if (!$("dialog").open) $("dialog").showModal();
}

function listRecords() {
  const columns = ["model", "init", "dim", "projector", "draws", "steps", "seed", "accuracy, %", "dataset", "revision"];
  const rows = data.records.map((record, id) => {
    const all = flat(id),
      cells = columns.map((name) => String(all[name] ?? "").slice(0, 12));
    if (all.local) cells[0] += " (local)";
    cells[2] = all.dim ?? "D";
    const build = () => element("tr", [...cells, opener("open", record[0], [id])].map(td));
    return { cells: [...cells, record[0]], build };
  });
  makeTable($("records-table"), "all records", [...columns, ""], rows, 50);
}
