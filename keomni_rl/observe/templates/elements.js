// Elements made of texts: whatever a model said becomes a text node, never markup.
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

function folded(title, ...children) {
  return element("details", "", element("summary", "", title), ...children);
}

// Names and values, those without a value left out.
function pairs(...named) {
  return element("dl", "pairs", ...named.filter(pair => pair[1]).flatMap(([name, value, className]) =>
    [element("dt", "", name), element("dd", className || "", value)]));
}
