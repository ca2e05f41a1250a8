// Charts by Vega-Lite, of the data and with the functions of tables.js.

function isDark() {
  return (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
}
const PALETTES = {
  light: ["#0b6bcb", "#b45309", "#047857", "#be185d", "#6d28d9", "#0e7490", "#4b5563"],
  dark: ["#60a5fa", "#fbbf24", "#34d399", "#f472b6", "#a78bfa", "#22d3ee", "#d1d5db"],
};

function draw(id, label, spec, onRecords = () => {}) {
  const style = getComputedStyle(document.documentElement),
    colour = (name) => style.getPropertyValue(name).trim();
  const [text, line] = [colour("--text"), colour("--line")];
  const full = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: label,
    width: "container",
    height: 330,
    autosize: { type: "fit-x", contains: "padding" },
    ...spec,
    config: {
      background: "transparent",
      font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: {
        labelColor: text,
        titleColor: text,
        gridColor: line,
        gridOpacity: 0.6,
        domainColor: line,
        tickColor: line,
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: "normal",
      },
      legend: {
        labelColor: text,
        titleColor: text,
        labelFontSize: 12,
        orient: narrow.matches ? "bottom" : "right",
        symbolOpacity: 1,
        columns: narrow.matches ? 2 : 1,
        labelLimit: 240,
        symbolLimit: 40,
        title: null,
      },
      range: { category: PALETTES[isDark() ? "dark" : "light"] },
      mark: { color: text },
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
  const series = $("answer-series").value,
    low = Number($("answer-axis").value);
  const values = data.answer
    .filter((r) => (series === "all" || r.series === series) && r.accuracy >= low)
    .map((r) => ({ ...r, low: Math.max(r.low ?? r.accuracy, low), high: r.high ?? r.accuracy }));
  const x = {
    field: "trained",
    type: "quantitative",
    scale: { type: "log", domain: extent((values.length ? values : data.answer).map((r) => r.trained)), padding: 12 },
    title: "trained parameters",
    axis: POWERS,
  };
  const scale = { domain: [low, 100], nice: false };
  const color = { field: "series", type: "nominal", scale: { domain: unique(data.answer.map((r) => r.series)) } };
  draw(
    "answer-chart",
    "Test accuracy over the number of trained parameters",
    {
      data: { values },
      encoding: { x, color },
      layer: [
        {
          transform: [{ filter: "datum.joined" }],
          mark: { type: "line", opacity: 0.35, strokeWidth: 1.5 },
          encoding: { y: { field: "accuracy", type: "quantitative", scale }, detail: { field: "source" } },
        },
        {
          mark: { type: "rule", strokeWidth: 2 },
          encoding: { y: { field: "low", type: "quantitative", scale }, y2: { field: "high" } },
        },
        {
          mark: { type: "point", filled: true, size: 80, opacity: 1, cursor: "pointer" },
          encoding: {
            y: { field: "accuracy", type: "quantitative", scale, title: "test accuracy, %" },
            shape: { field: "source", type: "nominal", scale: SOURCES },
            tooltip: [
              { field: "series", title: "training" },
              { field: "source" },
              { field: "trained", title: "trained parameters", format: "," },
              { field: "text", title: "accuracy, %" },
            ],
          },
        },
      ],
    },
    (d) => d.records?.length && showRecords(`${d.series}, ${thousands(d.trained)} trained parameters`, d.records),
  );
}

function shownCurves() {
  const [net, start, d] = ["net", "start", "d"].map((name) => $(`curves-${name}`).value);
  return data.curves.filter((c) => c.net === net && c.start === start && (d === "all" || c.d === d));
}

function drawCurves() {
  const shown = shownCurves(),
    choice = $("curves-seed").value,
    values = [];
  for (const curve of shown) {
    for (const source of ["ours", "local"].filter((name) => curve[name])) {
      const { steps, mean, seeds, values: scores } = curve[source];
      const lines =
        choice === "mean"
          ? [["mean", mean]]
          : seeds.map((seed, i) => [seed, scores[i]]).filter(([seed]) => choice === "every" || String(seed) === choice);
      for (const [seed, accuracies] of lines) {
        steps.forEach((step, i) => {
          const [low, high] = extent(scores.map((s) => s[i]));
          const range = seed === "mean" ? { low, high } : {};
          const line =
            seed === "mean" ? `mean of ${seeds.length}, from ${low.toFixed(2)} to ${high.toFixed(2)}` : `seed ${seed}`;
          values.push({ d: curve.d, source, line, seed, step, accuracy: accuracies[i], ...range });
        });
      }
    }
    for (const [step, accuracy] of curve.post)
      values.push({ d: curve.d, source: "the post", line: "published", step, accuracy });
  }
  const sizes = unique(data.curves.map((c) => c.d))
    .sort((a, b) => size(a) - size(b))
    .filter((d) => shown.some((c) => c.d === d));
  const encoding = {
    x: {
      field: "step",
      type: "quantitative",
      title: "step",
      scale: { domain: [0, extent(values.map((v) => v.step))[1]] },
    },
    y: {
      field: "accuracy",
      type: "quantitative",
      title: "test accuracy, %",
      scale: { domain: [Number($("curves-axis").value), 100] },
    },
    color: { field: "d", type: "nominal", sort: sizes, scale: { domain: sizes }, legend: { title: "d" } },
  };
  const trained = { filter: "datum.source !== 'the post'" };
  draw("curves-chart", "Test accuracy over steps of training, ours and the post's points", {
    data: { values },
    encoding,
    layer: [
      {
        transform: [{ filter: "isValid(datum.low)" }],
        mark: { type: "area", opacity: 0.2, clip: true },
        encoding: { y: { field: "low", type: "quantitative" }, y2: { field: "high" }, detail: { field: "source" } },
      },
      {
        transform: [trained],
        mark: { type: "line", strokeWidth: 1.6, clip: true },
        encoding: {
          detail: [{ field: "seed" }],
          strokeDash: {
            field: "source",
            type: "nominal",
            legend: null,
            scale: {
              domain: ["ours", "local"],
              range: [
                [1, 0],
                [5, 3],
              ],
            },
          },
        },
      },
      {
        transform: [{ filter: "datum.source === 'the post'" }],
        mark: {
          type: "point",
          clip: true,
          filled: true,
          size: 34,
          opacity: 1,
          strokeWidth: 0.7,
          stroke: isDark() ? "#fff" : "#000",
        },
      },
      {
        params: [{ name: "near", select: { type: "point", on: "pointerover", clear: "pointerout" } }],
        mark: { type: "point", clip: true, filled: true, size: 150 },
        encoding: {
          opacity: { condition: { param: "near", empty: false, value: 1 }, value: 0 },
          tooltip: [
            { field: "d" },
            { field: "source" },
            { field: "step", format: "," },
            { field: "accuracy", title: "accuracy, %", format: ".2f" },
            { field: "line", title: "seeds" },
          ],
        },
      },
    ],
  });
}

function drawCosts() {
  const { rows } = data.projectors[$("choose-device").selectedIndex],
    d = Number($("choose-d").value);
  const measure = $("cost-measure"),
    names = unique(rows.map((r) => r.projector)).sort();
  const dashes = names.map((_, i) => (i < 7 ? [1, 0] : [4, 3]));
  const tooltip = [
    { field: "projector" },
    { field: "D", format: "," },
    { field: "time", title: "forward + transpose, ms" },
    { field: "memory", title: "peak memory" },
    { field: "setup", title: "set-up, s" },
    { field: "why", title: "not taken because" },
  ];
  draw("cost-chart", `${measure.selectedOptions[0].textContent} of each projector over D`, {
    data: { values: rows.filter((r) => r.d === d && r[measure.value] > 0) },
    mark: { type: "line", point: { filled: true, size: 45 } },
    encoding: {
      x: { field: "D", type: "quantitative", scale: { type: "log" }, axis: POWERS },
      y: {
        field: measure.value,
        type: "quantitative",
        scale: { type: "log" },
        title: measure.selectedOptions[0].textContent,
        axis: { format: measure.value === "peak" ? "~s" : "~g", tickCount: 6 },
      },
      color: { field: "projector", type: "nominal", scale: { domain: names } },
      strokeDash: { field: "projector", type: "nominal", scale: { domain: names, range: dashes } },
      tooltip,
    },
  });
}
