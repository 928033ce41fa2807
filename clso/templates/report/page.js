"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");

  // A colour that begins with "--" is a variable of the style sheet.
  const variables = ["--ink", "--muted", "--own", ...[0, 1, 2, 3, 4, 5].map((i) => `--blue${i}`)];
  const resolved = (value, style) => {
    if (Array.isArray(value)) return value.map((v) => resolved(v, style));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolved(v, style)]));
    if (typeof value === "string" && variables.includes(value)) return style.getPropertyValue(value).trim();
    return value;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const [ink, muted, rule, back] = ["--ink", "--muted", "--rule", "--back"].map((n) => style.getPropertyValue(n).trim());
    const axis = { gridcolor: rule, linecolor: rule, zerolinecolor: rule, automargin: true, tickfont: { color: muted } };
    for (const [id, figure] of Object.entries(figures)) {
      const place = document.getElementById(id);
      if (!place) continue;
      const { data, layout } = resolved(figure, style);
      const small = narrow.matches;
      const bar = small || layout.height < 300 ? false : "hover";
      // The legend stands between the bar of buttons and the plot, in two rows if it has many names.
      const top = bar ? (data.length > 7 ? 78 : 56) : 30;
      const full = {
        height: 420, margin: { l: 10, r: 12, t: top, b: 10 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        modebar: { bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: ink },
        font: { color: ink, size: small ? 11 : 13, family: "system-ui, sans-serif" }, hoverlabel: { bgcolor: back, font: { color: ink } },
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: small ? 10 : 12 } }, ...layout,
        xaxis: { ...axis, ...(layout.xaxis || {}) }, yaxis: { ...axis, ...(layout.yaxis || {}) },
      };
      if (layout.legend) full.legend = { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, ...layout.legend };
      if (small) for (const trace of data) if (trace.marker && trace.marker.colorbar) trace.marker.colorbar.thickness = 8;
      Plotly.react(place, data, full, { responsive: true, displaylogo: false, displayModeBar: bar,
        modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "sendChartToCloud"] });
    }
  };
  draw();
  for (const query of [dark, narrow]) query.addEventListener("change", draw);

  const value = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent;
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };
  for (const button of document.querySelectorAll("button.sort"))
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const body = head.closest("table").tBodies[0];
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const i = head.cellIndex;
      body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * compare(value(a, i), value(b, i))));
    });
})();
