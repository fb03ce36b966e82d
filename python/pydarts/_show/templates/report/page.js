"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  // Touch gestures on a plot scroll the page.
  const drag = matchMedia("(pointer: coarse)").matches ? false : "zoom";

  /** A layout in the page's colours and letters. */
  function dressed(layout) {
    const rule = style("--rule");
    const axis = (own) => ({
      gridcolor: rule, linecolor: rule, zerolinecolor: rule, automargin: true, nticks: 7, ...own,
    });
    return {
      dragmode: drag,
      margin: { l: 8, r: 12, t: 8, b: 8 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style("--sans"), size: 12, color: style("--ink") },
      hoverlabel: { bgcolor: style("--card"), bordercolor: rule, font: { color: style("--ink"), size: 12 } },
      xaxis: axis(layout.xaxis),
      yaxis: axis(layout.yaxis),
    };
  }

  /** Ticks of an axis up to `end` that stand at whole numbers. */
  const whole = (end) => (end <= 7 ? { dtick: 1 } : {});

  function draw(element, traces, layout) {
    return Plotly.react(element, traces, dressed(layout), { responsive: true, displayModeBar: false });
  }

  function drawCurves() {
    for (const element of document.querySelectorAll("[data-figure]")) {
      const figure = data.figures[element.dataset.figure];
      const ticks = "end" in element.dataset ? whole(Number(element.dataset.end)) : {};
      draw(element, figure.data, { ...figure.layout, xaxis: { ...figure.layout.xaxis, ...ticks } });
    }
  }

  const { times, moments, unit, operations, tables } = data.alpha;
  const last = times.length - 1;
  /** A name as a label of a plot: a pair of $ would be taken for mathematics. */
  const label = (name) => name.replaceAll("$", "&#36;");
  // The operations of a table, or of a row if rows have different ones. A weight is null where an operation
  // was removed or a row lacks it.
  for (const table of tables) {
    table.looks = table.operations.map((number) => operations[number]);
    table.names = table.looks.map((look) => look.name);
  }
  const looksOf = ({ own, looks }, row) => (own ? own[row].map((number) => operations[number]) : looks);
  const known = (weight) => weight !== null;
  const cell = byId("alpha-cell"), edge = byId("alpha-edge"), time = byId("alpha-time"), play = byId("alpha-play");
  const now = () => ({ table: tables[Number(cell.value)], row: Number(edge.value), point: Number(time.value) });
  const moment = (point) => `${unit} ${times[point].toLocaleString("en")}${moments[point] ? `, ${moments[point]}` : ""}`;

  function drawBars({ table, row, point }) {
    const looks = looksOf(table, row);
    const shown = looks.map((_, column) => column).filter((column) => known(table.weights[point][row][column]));
    const weights = shown.map((column) => table.weights[point][row][column]);
    const even = table.equal[row];
    draw(byId("alpha-bars"), [{
      type: "bar", orientation: "h", x: weights, y: shown.map((column) => label(looks[column].name)), cliponaxis: false,
      marker: { color: shown.map((column) => looks[column].color) },
      text: weights.map((weight) => `\u2002${weight.toFixed(4)}`), textposition: "outside",
      hovertemplate: "%{y}: %{x:.6f}<extra></extra>",
    }], {
      xaxis: { range: [1.25 * Math.min(0, table.low), 1.25 * Math.max(0, table.high)], title: { text: "mixing weight" } },
      yaxis: { type: "category", autorange: "reversed", dtick: 1, showgrid: false },
      shapes: [{
        type: "line", x0: even, x1: even, y0: 0, y1: 1, yref: "paper", layer: "below",
        line: { color: style("--quiet"), width: 1, dash: "dot" },
      }],
    });
  }

  function drawLines({ table, row, point }) {
    const present = looksOf(table, row).map((operation, column) => ({ operation, column }))
      .filter(({ column }) => table.weights.some((weights) => known(weights[row][column])));
    draw(byId("alpha-lines"), present.map(({ operation, column }) => ({
      name: label(operation.name), mode: last < 40 ? "lines+markers" : "lines", x: times,
      y: table.weights.map((weights) => weights[row][column]),
      line: { color: operation.color, dash: operation.dash, width: 2 }, marker: { size: 4 },
      hovertemplate: "%{y:.5f}",
    })), {
      xaxis: { title: { text: unit }, ...whole(times[last]) }, yaxis: {}, hovermode: "x",
      shapes: [{
        type: "line", x0: times[point], x1: times[point], y0: 0, y1: 1, yref: "paper",
        line: { color: style("--ink"), width: 1.5 },
      }],
    });
  }

  function drawHeat({ table, row, point }) {
    const element = byId("alpha-heat");
    const { rows, own } = table;
    const names = own ? table.weights[0][0].map((_, column) => String(column + 1)) : table.names.map(label);
    element.style.height = `${150 + 24 * rows.length}px`;
    // Where boxes hold names, the dot of a marker would hide them.
    const strongest = new Set(own ? table.kept[point].map(String) : []);
    const text = own && own.map((row, line) => row.map((number, column) =>
      (strongest.has(`${line},${column}`) ? "● " : "") + label(operations[number].name)));
    const kept = own ? [] : table.kept[point], masked = table.masked[point];
    const labels = rows.map((row, line) => label(row) + table.states[point][line]);
    draw(element, [{
      type: "heatmap", z: table.weights[point], x: names, y: labels, zmin: table.low, zmax: table.high,
      colorscale: [[0, style("--card")], [1, style("--dense")]], xgap: 1, ygap: 1, hovertemplate: `%{y}<br>${own ? "%{text}" : "%{x}"}: %{z:.6f}<extra></extra>`,
      ...(own ? { text, texttemplate: "%{text}" } : {}),
      colorbar: { orientation: "h", y: 1.01, yanchor: "bottom", thickness: 10, tickfont: { size: 12 }, nticks: 5 },
    }, {
      mode: "markers", x: kept.map(([, column]) => names[column]), y: kept.map(([line]) => labels[line]),
      marker: { size: 9, color: "#ffffff", line: { color: "#000000", width: 1.5 } }, hoverinfo: "skip",
      showlegend: false,
    }, {
      mode: "markers", x: masked.map(([, column]) => names[column]), y: masked.map(([line]) => labels[line]),
      marker: { size: 8, symbol: "x-thin", line: { color: style("--quiet"), width: 1.5 } }, hoverinfo: "skip",
      showlegend: false,
    }], {
      xaxis: { type: "category", tickangle: -60, showticklabels: !own, showgrid: false, dtick: 1, range: [-0.5, names.length - 0.5] },
      yaxis: { type: "category", showgrid: false, dtick: 1, range: [rows.length - 0.5, -0.5] },
      hovermode: "closest", dragmode: false,
      shapes: [{
        type: "rect", xref: "paper", x0: 0, x1: 1, y0: row - 0.5, y1: row + 0.5,
        line: { color: style("--ink"), width: 2 },
      }],
    });
  }

  function drawCell({ table, point }) {
    if (!table.cells.length) return;
    byId("alpha-picture").replaceChildren(byId(table.cells[point]).content.cloneNode(true));
    const final = new Set(table.kept[last].map(String));
    const others = table.kept[point].filter((kept) => !final.has(String(kept))).length;
    byId("alpha-same").textContent = point === last ? "at the end"
      : others === 0 ? "the same as at the end"
      : `${others} of ${table.kept[point].length} operations ${others === 1 ? "differs" : "differ"} from the end`;
  }

  function say({ table, row, point }) {
    byId("alpha-now").value = moment(point);
    time.setAttribute("aria-valuetext", `${moment(point)} of ${times[last].toLocaleString("en")}`);
    const weights = table.weights[point][row];
    const names = looksOf(table, row).map((look) => look.name);
    const order = weights.map((_, column) => column).filter((column) => known(weights[column]))
      .sort((a, b) => weights[b] - weights[a]);
    const state = table.states[point][row];
    const kept = table.kept[point].find(([line]) => line === row);
    byId("alpha-said").textContent =
      `${table.said[row] && `${table.said[row]} `}${table.rows[row]}${state} at ${moment(point)}: ${names[order[0]]} ${weights[order[0]].toFixed(4)}`
      + (order.length > 1 ? `, then ${names[order[1]]} ${weights[order[1]].toFixed(4)}` : "")
      + (!table.cells.length ? "."
        : kept ? `; the derived cell keeps ${names[kept[1]]} here.` : "; the derived cell leaves this edge out.");
  }

  function drawAlpha() {
    const state = now();
    say(state);
    drawCell(state);
    drawBars(state);
    drawLines(state);
    drawHeat(state);
  }

  let asked = 0;
  /** Draw what has been chosen, once a frame at most. */
  function show() {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      drawAlpha();
    });
  }

  let timer = 0;
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    byId("alpha-said").setAttribute("aria-live", "polite");
  }

  function start() {
    if (Number(time.value) === last) time.value = 0;
    play.textContent = "Pause";
    byId("alpha-said").setAttribute("aria-live", "off"); // a screen reader must not read every point
    timer = setInterval(() => {
      time.value = Number(time.value) + 1;
      if (Number(time.value) === last) stop();
      show();
    }, Math.max(80, Math.min(500, 8000 / times.length)));
    show();
  }

  cell.addEventListener("change", () => {
    const { rows } = now().table;
    const chosen = Math.min(Number(edge.value), rows.length - 1);
    edge.replaceChildren(...rows.map((row, line) => new Option(row, line)));
    edge.value = chosen;
    show();
  });
  edge.addEventListener("change", show);
  time.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => (timer ? stop() : start()));

  function drawAll() {
    drawCurves();
    drawAlpha();
  }

  drawAll();
  byId("alpha-heat").on("plotly_click", (event) => {
    const { table, point } = now();
    const row = table.rows.findIndex((row, line) => label(row) + table.states[point][line] === event.points[0].y);
    if (row >= 0) { edge.value = row; show(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Print in the light theme and with sections open, except the whole plan, which takes tens of pages.
  let opened = [];
  addEventListener("beforeprint", () => {
    root.classList.add("paper");
    opened = [...document.querySelectorAll("details:not([open])")].filter((part) => !part.querySelector(".long"));
    for (const part of opened) part.open = true;
    drawAll();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    for (const part of opened) part.open = false;
    drawAll();
  });
})();
