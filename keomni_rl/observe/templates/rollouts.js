// The groups of rollouts that a run kept: what the list of them shows, and a group that is opened.
(() => {
  const data = JSON.parse(document.getElementById("rollouts-data").textContent);
  data.groups.forEach((group, number) => { group.number = number; });
  const signed = value => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(2);

  // Texts lie in the page in packs, each base64 of gzip of a list.
  const packs = new Map();
  function pack(number) {
    if (!packs.has(number)) packs.set(number, unpacked(document.getElementById("pack-" + number).textContent));
    return packs.get(number);
  }

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  async function textsOf(group) {
    const held = await pack(Math.floor(group.number / data.groups_per_pack));
    return held[group.number % data.groups_per_pack];
  }

  async function prepare() {
    await Promise.all(data.groups.map(async group => {
      if (group.texts) return;
      const {prompt, completions} = await textsOf(group);
      const said = completions.flatMap(c => [c.think, c.answer, c.raw]);
      group.texts = [group.id, prompt, ...said].join("\n").toLowerCase();
    }));
  }

  // A row of the list.
  function summary(group) {
    return [cells(group.right), element("span", "question", group.question),
      element("span", "quiet reward", `${group.mean.toFixed(2)} \u00b1 ${group.spread.toFixed(2)}`),
      element("span", "badge", "step " + group.step.toLocaleString("en")),
      element("span", "quiet place", group.dataset)];
  }

  function cells(right) {
    const made = element("span", "cells", ...right.map(one => element("i", one === null ? "" : one ? "right" : "wrong")));
    made.setAttribute("role", "img");
    const known = right.filter(one => one !== null);
    made.setAttribute("aria-label", known.length
      ? `${known.filter(Boolean).length} of ${right.length} right` : `${right.length} completions`);
    made.title = made.getAttribute("aria-label");
    return made;
  }

  // An open group.
  async function body(group) {
    const {prompt, choices, solution, completions} = await textsOf(group);
    const made = element("div", "body", element("div", "", ...choices.map(choice =>
      element("span", choice === solution ? "choice solution" : "choice", choice))));
    if (solution !== null && !choices.includes(solution))
      made.append(element("p", "quiet", "Right: " + solution));
    made.append(element("div", "pair heard", sound(group), pairs(["prompt", prompt])));
    made.append(element("div", "completions many", ...completions.map(completion)));
    const link = element("a", "", "link to this group");
    link.href = "#" + address(group);
    made.append(element("p", "quiet", `id ${group.id}, prompt ${group.index} of the stream, `, link));
    return made;
  }

  function completion(said, number) {
    const made = element("div", "completion" + (said.right === null ? "" : said.right ? " right" : " wrong"));
    made.append(element("h4", "", `${number + 1}. reward ${said.reward.toFixed(2)}, advantage ${signed(said.advantage)}`));
    made.append(pairs(["think", said.think, "think"], ["answer", said.answer, "answer"]));
    const parts = Object.entries(said.breakdown).map(([name, value]) => `${name} ${+value.toFixed(3)}`);
    const [oldest, newest] = said.versions;
    const versions = oldest === newest ? `policy ${newest}` : `policies ${oldest} to ${newest}`;
    const figures = [`${said.tokens} tokens`, versions];
    if (said.cut) figures.push("cut off");
    made.append(element("p", "quiet parts", parts.join(", ")), element("p", "quiet", figures.join(", ")));
    if (said.raw) made.append(folded("the whole completion", element("pre", "", said.raw)));
    return made;
  }

  const address = group => `group-${group.step}-${group.index}`;
  const most = name => (a, b) => b[name] - a[name];
  const least = name => (a, b) => a[name] - b[name];
  browse({
    rows: data.groups, noun: "groups", prepare, texts: group => group.texts, address, summary, body,
    filters: {
      outcome: (group, value) => group.outcomes.includes(value),
      dataset: (group, value) => group.dataset === value,
      from: (group, value) => group.step >= Number(value),
    },
    comparisons: {
      newest: most("number"), spread: most("spread"), mean: most("mean"), low: least("mean"), tokens: most("tokens"),
    },
  });
})();
