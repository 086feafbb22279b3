/* Charts: drawn by Vega, again where the theme changes, in the colours of the page. */
function drawCharts() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => colorOf(style.getPropertyValue(name)));
  const axis = { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: "normal" };
  const config = { background: null, font: "system-ui, sans-serif", axis, legend: { labelColor: ink }, text: { color: ink, fill: ink } };
  for (const figure of document.querySelectorAll(".chart")) {
    const drawing = figure.querySelector(".drawing");
    const values = figure.view ? Object.fromEntries(["cell", "axis"].map((name) => [name, valueOf(figure.view, name)])) : {};
    const specification = JSON.parse(figure.querySelector("script").textContent);
    for (const parameter of specification.params ?? []) parameter.value = values[parameter.name] ?? parameter.value;
    vegaEmbed(drawing, specification, { renderer: "svg", actions: false, config }).then(({ view }) => { figure.view = view; });
  }
}

function valueOf(view, name) {
  try { return view.signal(name); } catch { return undefined; } /* not every chart has it */
}

/* A colour of the style sheet as browsers compute it: Vega does not read light-dark(). */
function colorOf(text) {
  const probe = document.createElement("span");
  probe.style.color = text;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

if (document.querySelector(".chart")) {
  drawCharts();
  document.addEventListener("themechange", drawCharts);
}
