// Draws the page's figures in the colours of the moment, light or dark, one after the other so that
// the page answers meanwhile.
(() => {
  const figures = JSON.parse(document.getElementById("figures-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function draw(number) {
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    const line = colour("--line");
    const layout = structuredClone(figures[number].layout);
    layout.font = {color: colour("--quiet"), size: 12, family: "system-ui, sans-serif"};
    for (const axis of ["xaxis", "yaxis"])
      Object.assign(layout[axis], {gridcolor: line, linecolor: line, zerolinecolor: line});
    layout.hoverlabel = {bgcolor: colour("--card"), bordercolor: line};
    const settings = {responsive: true, displayModeBar: false};
    Plotly.react("figure-" + number, figures[number].data, layout, settings);
  }
  const drawAll = () => figures.forEach((_, number) => setTimeout(draw, 0, number));
  dark.addEventListener("change", drawAll);
  drawAll();
})();
