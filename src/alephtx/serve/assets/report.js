"use strict";
// Draws what the page's data block holds. Names only ever go through textContent.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const BUY = 1, TAKER = 2;
  const drawn = []; // [place, draw again]

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
    value == null ? "-" : value.toLocaleString("en-US", {
      minimumFractionDigits: Math.min(decimals, 2), maximumFractionDigits: decimals });

  const line = (label, name, decimals, more) => ({
    label, stroke: color(name), width: 1.5, points: { show: false },
    value: number(decimals), ...more });

  const stepped = uPlot.paths.stepped({ align: 1 });

  function axes(format) {
    const style = { stroke: color("--dim"), font: "12px system-ui, sans-serif",
      grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    return [{ ...style, size: 34, values: times }, { ...style, size: 84, values: format &&
      ((u, splits) => splits.map((value) => format(u, value))) }];
  }

  function times(u, splits, axis, space, step) {
    const part = step < 60 ? [11, 19] : step < 86400 ? [11, 16] : [5, 10];
    return splits.map((t) => new Date(t * 1000).toISOString().slice(...part));
  }

  // A range that keeps single values and flat lines visible.
  const roomy = (u, least, most) => {
    if (least == null || most == null) return [0, 1];
    const pad = (most - least) * 0.08 || Math.abs(most) * 0.0005 || 1;
    return [least - pad, most + pad];
  };

  function plot(place, height, series, columns, more = {}) {
    const x = { label: "UTC", value: (u, t) =>
      t == null ? "-" : new Date(t * 1000).toISOString().slice(11, 23) };
    return new uPlot({
      width: place.clientWidth, height, series: [x, ...series], axes: axes(more.format),
      tzDate: (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC"),
      scales: { x: { time: true }, y: { range: more.range || roomy } },
      cursor: { sync: { key: "run" }, points: { size: 7 }, drag: { x: true, y: false } },
      plugins: more.plugins || [],
    }, [data.ts, ...columns], place);
  }

  // Triangles at the fills: up for buys, down for sells; hollow for makers.
  function fills(chart) {
    const at = (u, fill) => [u.valToPos(fill[0], "x", true), u.valToPos(fill[1], "y", true)];
    function draw(u) {
      const { ctx, bbox } = u, size = 5.5 * devicePixelRatio;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.lineWidth = 1.5 * devicePixelRatio;
      for (const fill of chart.fills) {
        const [x, y] = at(u, fill), way = fill[2] === BUY ? 1 : -1;
        ctx.beginPath();
        ctx.moveTo(x, y);
        ctx.lineTo(x - size, y + way * size * 1.7);
        ctx.lineTo(x + size, y + way * size * 1.7);
        ctx.closePath();
        ctx.strokeStyle = ctx.fillStyle = color(way > 0 ? "--up" : "--down");
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
      const [t, price, side, liquidity, qty, strategy] = found;
      const as = ["", "maker ", "taker "][liquidity] ?? "";
      tip.textContent = `${side === BUY ? "buy" : "sell"} ${qty} @ ${price} ${as}` +
        `${strategy} ${new Date(t * 1000).toISOString().slice(11, 23)}`;
      tip.style.left = `${Math.min(left + 12, u.over.clientWidth - tip.offsetWidth)}px`;
      tip.style.top = `${Math.max(0, top - 34)}px`;
    }
    return { hooks: { draw, setCursor: hover } };
  }

  const kinds = {
    prices(place, chart) {
      const range = (u, least, most) => {
        const { min, max } = u.scales.x;
        for (const [t, price] of chart.fills) {
          if (t < min || t > max) continue;
          least = least == null ? price : Math.min(least, price);
          most = most == null ? price : Math.max(most, price);
        }
        return roomy(u, least, most);
      };
      return [plot(place, 300, [line("mid", "--c1", chart.decimals + 1)], [chart.mid],
        { range, plugins: [fills(chart)], format: number(chart.decimals) })];
    },
    edges(place, chart) {
      const zero = data.ts.map(() => 0);
      return [plot(place, 260, [
        line("before fees, bps", "--c2", 3), line("after fees, bps", "--c1", 3),
        line("zero", "--dim", 0, { width: 1, dash: [4, 4], value: () => "" }),
      ], [chart.gross, chart.net, zero], { format: number(2) })];
    },
    equity(place, chart) {
      const series = [line("net", "--c1", 8, { width: 2 })], columns = [chart.net];
      for (const [name, paint] of [["realized", "--c3"], ["unrealized", "--c4"],
        ["fees", "--c2"], ["funding", "--dim"]]) {
        if (!chart[name] || chart[name].every((value) => !value)) continue;
        series.push(line(name, paint, 8, { width: 1 }));
        columns.push(chart[name]);
      }
      const down = line("drawdown", "--down", 8, { width: 1, fill: color("--fill") });
      const below = (u, least) => [least == null || least === 0 ? -1 : least * 1.1, 0];
      return [plot(place, 260, series, columns, { format: number(6) }),
        plot(place, 130, [down], [chart.drawdown], { range: below, format: number(6) })];
    },
    inventory(place, chart) {
      return [plot(place, 200, [line("position", "--c1", 8, { paths: stepped })], [chart.qty],
        { format: number(8) })];
    },
  };

  function show(place) {
    const kind = place.dataset.chart, charts = data[kind];
    const names = charts.map((chart) => chart.key ?? chart.name ?? chart.currency);
    let plots = [], chosen = 0;
    const tabs = make("div", place, "tabs"), canvas = make("div", place);
    const buttons = names.map((name, k) => {
      const total = charts[k].total;
      const button = make("button", tabs, "", total ? `${name} · ${total} fills` : name);
      button.addEventListener("click", () => { chosen = k; draw(); });
      return button;
    });
    function draw() {
      const { min, max } = plots[0]?.scales.x ?? {}; // another tab keeps the zoom
      plots.forEach((old) => old.destroy());
      buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === chosen)));
      plots = kinds[kind](canvas, charts[chosen]);
      if (max > min) plots.forEach((one) => one.setScale("x", { min, max }));
    }
    draw();
    drawn.push(draw);
    new ResizeObserver(() => plots.forEach((one) => {
      if (canvas.clientWidth && one.width !== canvas.clientWidth)
        one.setSize({ width: canvas.clientWidth, height: one.height });
    })).observe(canvas);
  }

  document.querySelectorAll("[data-chart]").forEach(show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    drawn.forEach((draw) => draw()));
})();
