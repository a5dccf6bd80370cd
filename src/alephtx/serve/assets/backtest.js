"use strict";
// Draws what the page's data block holds. Names only ever go through textContent.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const BUY = 1, TAKER = 2;
  const drawn = [];        // draw again, when the scheme changes
  const timed = new Set(); // charts that share the time axis
  let zoom = null;         // {min, max} in seconds, null for everything

  const color = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const make = (name, parent, className, words) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (words !== undefined) element.textContent = words;
    parent.append(element);
    return element;
  };

  const number = (decimals) => (u, value) =>
    value == null ? "-" : value.toLocaleString("en-US", { maximumFractionDigits: decimals });

  const line = (label, name, decimals, more) => ({
    label, stroke: color(name), width: 1.5, points: { show: false },
    value: number(decimals), ...more });

  const stepped = uPlot.paths.stepped({ align: 1 });

  const clock = (t) => new Date(t * 1000).toISOString();
  const times = (u, splits, axis, space, step) => {
    const part = step < 60 ? [11, 19] : step < 86400 ? [11, 16] : [5, 10];
    return splits.map((t) => clock(t).slice(...part));
  };

  const axis = (more) => ({ stroke: color("--dim"), font: "12px system-ui, sans-serif",
    grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, ...more });

  const formatted = (format) => (u, splits) => splits.map((value) => format(u, value));

  // A range that keeps single values and flat lines visible.
  const roomy = (u, least, most) => {
    if (least == null || most == null) return [0, 1];
    const pad = (most - least) * 0.08 || Math.abs(most) * 0.0005 || 1;
    return [least - pad, most + pad];
  };

  // The time axis is one for all: whoever is zoomed takes the others along.
  let [first, last] = [Infinity, -Infinity];
  const curves = (data.overlay ?? []).flatMap((chart) => chart.runs);
  for (const chart of [...data.equity, ...data.prices, ...data.inventory, ...curves]) {
    if (!chart.ts.length) continue;
    first = Math.min(first, chart.ts[0]);
    last = Math.max(last, chart.ts[chart.ts.length - 1]);
  }
  if (!(last > first)) [first, last] = [Math.min(first, last) - 1, Math.max(first, last) + 1];
  if (!isFinite(first) || !isFinite(last)) [first, last] = [0, 1];
  const reset = document.getElementById("reset");
  function follow(u, key) {
    const { min, max } = u.scales.x;
    if (key !== "x" || min == null || !timed.has(u)) return;
    zoom = min <= first && max >= last ? null : { min, max };
    for (const other of timed)
      if (other.scales.x.min !== min || other.scales.x.max !== max)
        other.setScale("x", { min, max });
    if (reset) reset.disabled = zoom === null;
  }
  reset?.addEventListener("click", () => {
    timed.forEach((one) => one.setScale("x", { min: first, max: last }));
  });

  function plot(place, height, series, columns, more = {}) {
    const x = { label: "UTC", value: (u, t) => t == null ? "-" : clock(t).slice(11, 23) };
    const axes = [axis({ size: 34, space: 80, values: times }),
      axis({ size: 84, values: more.format && formatted(more.format) })];
    if (more.right) axes.push(axis({ size: 64, side: 1, scale: "signal", grid: { show: false } }));
    const moves = (type) => type === "mousemove" || type === "mouseleave";
    const one = new uPlot({
      width: place.clientWidth, height, series: [x, ...series], axes,
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      scales: {
        x: { time: true, range: (u, least, most) =>
          least == null ? [first, last] : [least, most] },
        y: { range: more.range || roomy }, signal: { range: roomy } },
      cursor: { sync: { key: "run", filters: { pub: moves, sub: moves } }, points: { size: 7 },
        drag: { x: true, y: false },
        bind: { dblclick: (u) => () => u.setScale("x", { min: first, max: last }) } },
      bands: more.bands || [], plugins: more.plugins || [],
      hooks: { setScale: [follow] },
    }, columns, place);
    timed.add(one);
    one.setScale("x", zoom ?? { min: first, max: last });
    return one;
  }

  // Triangles at the fills: up for buys, down for sells; hollow for makers.
  function marks(chart) {
    const at = (u, fill) => [u.valToPos(fill[0], "x", true), u.valToPos(fill[1], "y", true)];
    function draw(u) {
      const { ctx, bbox } = u, size = 5 * devicePixelRatio;
      const up = color("--up"), down = color("--down");
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.lineWidth = 1.5 * devicePixelRatio;
      for (const fill of chart.fills) {
        if (fill[0] < u.scales.x.min || fill[0] > u.scales.x.max) continue;
        const [x, y] = at(u, fill), way = fill[2] === BUY ? 1 : -1;
        ctx.beginPath();
        ctx.moveTo(x, y);
        ctx.lineTo(x - size, y + way * size * 1.7);
        ctx.lineTo(x + size, y + way * size * 1.7);
        ctx.closePath();
        ctx.strokeStyle = ctx.fillStyle = way > 0 ? up : down;
        if (fill[3] === TAKER) ctx.fill();
        ctx.stroke();
      }
      ctx.restore();
    }
    let tip;
    function hover(u) {
      const { left, top } = u.cursor;
      let best = 14, found = null;
      for (const fill of left >= 0 ? chart.fills : []) {
        const x = u.valToPos(fill[0], "x") - left, y = u.valToPos(fill[1], "y") - top;
        const far = Math.hypot(x, y);
        if (far < best) [best, found] = [far, fill];
      }
      tip ??= make("div", u.over, "tip");
      tip.hidden = !found;
      if (!found) return;
      const [t, price, side, liquidity, qty, number_] = found;
      const as = ["", "maker ", "taker "][liquidity] ?? "";
      const who = chart.strategies[number_] ?? (number_ < 0 ? "not ours" : `#${number_}`);
      tip.textContent = `${side === BUY ? "buy" : "sell"} ${qty} @ ${price} ${as}` +
        `${who} ${clock(t).slice(11, 23)}`;
      tip.style.left = `${Math.min(left + 12, u.over.clientWidth - tip.offsetWidth)}px`;
      tip.style.top = `${Math.max(0, top - 34)}px`;
    }
    return { hooks: { draw, setCursor: hover } };
  }

  const kinds = {
    prices(place, chart, signal) {
      const range = (u, least, most) => {
        const { min, max } = u.scales.x;
        for (const [t, price] of chart.fills) {
          if (t < min || t > max) continue;
          least = least == null ? price : Math.min(least, price);
          most = most == null ? price : Math.max(most, price);
        }
        return roomy(u, least, most);
      };
      const series = [line("ask", "--c2", chart.decimals, { width: 1, paths: stepped }),
        line("bid", "--c1", chart.decimals, { width: 1, paths: stepped })];
      let columns = [chart.ts, chart.ask, chart.bid];
      if (!chart.ts.length) columns = [[first, last], [null, null], [null, null]];
      if (signal) {
        series.push(line(signal.name, "--c4", 6, { width: 1, scale: "signal" }));
        columns = uPlot.join([columns, [signal.ts, signal.v]]);
      }
      return [plot(place, 340, series, columns, { range, plugins: [marks(chart)],
        bands: [{ series: [1, 2], fill: color("--soft") }],
        format: number(chart.decimals), right: Boolean(signal) })];
    },
    equity(place, chart) {
      const net = line(`net, ${chart.currency}`, "--c1", 8, { width: 2 });
      const down = line("drawdown", "--down", 8, { width: 1, fill: color("--fill") });
      const below = (u, least) => [least == null || least === 0 ? -1 : least * 1.1, 0];
      return [plot(place, 260, [net], [chart.ts, chart.net], { format: number(6) }),
        plot(place, 130, [down], [chart.ts, chart.drawdown],
          { range: below, format: number(6) })];
    },
    overlay(place, chart) { // runs laid over each other, with times of their own
      const paints = ["--c1", "--c2", "--c3", "--c4", "--up", "--down", "--dim"];
      const series = chart.runs.map((run, k) =>
        line(`${run.name}, ${chart.currency}`, paints[k % paints.length], 8));
      const columns = uPlot.join(chart.runs.map((run) => [run.ts, run.net]));
      return [plot(place, 320, series, columns, { format: number(6) })];
    },
    inventory(place, chart) {
      return [plot(place, 200, [line("position", "--c1", 8, { paths: stepped })],
        [chart.ts, chart.qty], { format: number(8) })];
    },
    markouts(place, chart) { // by place, not by time: the horizons' own spacing
      const at = chart.horizons.map((h, k) => k);
      const name = (k) => chart.horizons[k] == null ? "" : `${chart.horizons[k]} s`;
      const marked = at.filter((k) => [5, 30, 60].includes(chart.horizons[k]));
      return [new uPlot({
        width: place.clientWidth, height: 260, scales: { x: { time: false }, y: { range: roomy } },
        series: [{ label: "after", value: (u, k) => k == null ? "-" : name(k) },
          line("high", "--dim", 3, { width: 1, dash: [3, 3] }),
          line("low", "--dim", 3, { width: 1, dash: [3, 3] }),
          line("markout, bps", "--c1", 3, { width: 2, // last, or the band would cover it
            points: { show: true, size: 8, filter: () => marked } })],
        axes: [axis({ size: 34, splits: () => at, values: (u, splits) => splits.map(name),
          space: 20 }), axis({ size: 84 })],
        bands: [{ series: [1, 2], fill: color("--soft") }],
        cursor: { drag: { x: true, y: false } },
      }, [at, chart.high, chart.low, chart.markout], place)];
    },
  };

  function show(place) {
    const kind = place.dataset.chart, charts = data[kind];
    let plots = [], chosen = 0, signal = null;
    const tabs = make("div", place, "tabs"), canvas = make("div", place);
    const buttons = charts.map((chart, k) => {
      const name = chart.key ?? chart.currency;
      const button = make("button", tabs, "",
        chart.total ? `${name} · ${chart.total.toLocaleString("en-US")} fills` : name);
      button.addEventListener("click", () => { chosen = k; signal = null; choose(); draw(); });
      return button;
    });
    const select = kind === "prices" ? make("select", tabs) : null;
    select?.setAttribute("aria-label", "signal");
    select?.addEventListener("change", () => {
      signal = charts[chosen].signals[Number(select.value)] ?? null;
      draw();
    });
    function choose() {
      if (!select) return;
      select.replaceChildren();
      make("option", select, "", "no signal").value = "-1";
      charts[chosen].signals.forEach((one, k) =>
        { make("option", select, "", one.name).value = String(k); });
      select.hidden = !charts[chosen].signals.length;
    }
    function draw() {
      plots.forEach((old) => { timed.delete(old); old.destroy(); });
      buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === chosen)));
      plots = kinds[kind](canvas, charts[chosen], signal);
    }
    choose();
    draw();
    drawn.push(draw);
    new ResizeObserver(() => plots.forEach((one) => {
      if (canvas.clientWidth && one.width !== canvas.clientWidth)
        one.setSize({ width: canvas.clientWidth, height: one.height });
    })).observe(canvas);
  }

  document.querySelectorAll("[data-chart]").forEach(show);
  if (reset) reset.disabled = true;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    drawn.forEach((draw) => draw()));
})();
