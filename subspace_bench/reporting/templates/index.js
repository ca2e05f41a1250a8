// The controls of the page. With tables.js and charts.js one module: no network, no storage.

function updateCurves(changed) {
  const start = data.curves.filter((c) => c.net === $("curves-net").value);
  if (changed === "net") {
    fill($("curves-start"), unique(start.map((c) => c.start)));
    $("curves-axis").value = $("curves-net").value.includes("100 epochs") ? 85 : 0; // where they differ
  }
  const now = start.filter((c) => c.start === $("curves-start").value);
  if (changed !== "d") fill($("curves-d"), ["all", ...unique(now.map((c) => c.d))], $("curves-d").value);
  const seeds = unique(shownCurves().flatMap((c) => [...(c.ours?.seeds ?? []), ...(c.local?.seeds ?? [])])).sort(
    (a, b) => a - b,
  );
  fill($("curves-seed"), ["mean", "every", ...seeds], $("curves-seed").value);
  drawCurves();
}

function choose(changed) {
  const { rows, device, versions } = data.projectors[$("choose-device").selectedIndex];
  if (changed === "device") fill($("choose-D"), unique(rows.map((r) => r.D)), $("choose-D").value);
  const native = Number($("choose-D").value),
    atNative = rows.filter((r) => r.D === native);
  const dims = unique(atNative.map((r) => r.d)).sort((a, b) => a - b);
  fill($("choose-d"), dims, $("choose-d").value || 1000);
  for (const select of [$("choose-D"), $("choose-d")])
    for (const o of select.options) o.textContent = thousands(Number(o.value));
  const here = atNative.filter((r) => r.d === Number($("choose-d").value)),
    best = here.find((r) => !r.why);
  $("choose-answer").textContent = best
    ? `Take ${best.projector}: ${best.time} ms forward and transpose, ${best.memory} of memory.`
    : "No measured projector meets the rule at this size.";
  const columns = [
    "projector",
    "forward + transpose, ms",
    "peak memory",
    "set-up, s",
    "accuracy − best, points",
    "take it?",
    "revision",
  ];
  makeTable(
    $("choose-table"),
    "projectors at this size",
    columns,
    here.map((r) => {
      const cells = [
        r.projector,
        r.time,
        r.memory,
        `${r.setup}`,
        r.accuracy,
        r === best ? "yes, the fastest" : r.why || "slower",
        r.revision,
      ];
      return { cells, build: () => element("tr", cells.map(td), { className: r === best ? "take" : "" }) };
    }),
  );
  $("choose-machine").textContent = `Measured on ${device}; ${versions}.`;
  drawCosts();
}

function drawAll() {
  if (data.answer.length) drawAnswer();
  if (data.curves.length) drawCurves();
  if (data.projectors.length) drawCosts();
}

function openTarget() {
  // of a link to a page, which is closed
  const target = location.hash && $(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}

function start() {
  document.querySelectorAll("details table").forEach(enhance);
  listRecords();
  fill($("answer-series"), ["all", ...unique(data.answer.map((r) => r.series))]);
  fill($("curves-net"), unique(data.curves.map((c) => c.net)));
  fill(
    $("choose-device"),
    data.projectors.map((p) => p.device),
  );
  for (const name of ["series", "axis"]) $(`answer-${name}`).addEventListener("change", drawAnswer);
  if (data.answer.length) drawAnswer();
  else $("answer-chart").textContent = "No records yet.";
  for (const name of ["net", "start", "d"]) $(`curves-${name}`).addEventListener("change", () => updateCurves(name));
  for (const name of ["seed", "axis"]) $(`curves-${name}`).addEventListener("change", drawCurves);
  if (data.curves.length) updateCurves("net");
  else $("curves-chart").textContent = "No records yet.";
  $("curves-records").addEventListener("click", () => {
    const ids = shownCurves().flatMap((c) => [...(c.ours?.records ?? []), ...(c.local?.records ?? [])]);
    if (ids.length) showRecords(["net", "start"].map((n) => $(`curves-${n}`).value).join(", "), ids);
  });
  for (const name of ["device", "D", "d"]) $(`choose-${name}`).addEventListener("change", () => choose(name));
  $("cost-measure").addEventListener("change", drawCosts);
  if (data.projectors.length) choose("device");
  else document.querySelectorAll("#choose :is(.controls, .note, h3)").forEach((part) => (part.hidden = true));
  $("open-all").addEventListener("click", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    drawAll();
  });
  for (const query of [dark, narrow]) query.addEventListener("change", drawAll);
  addEventListener("hashchange", openTarget);
  openTarget();
}

start();
