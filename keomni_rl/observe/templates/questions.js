// The list of questions: filtered, ordered, one page of it at a time. A question's body and its
// player are made when it is opened. All texts become text nodes, whatever a model said.
(() => {
  const PAGE_SIZE = 25;
  const FIELDS = ["task", "difficulty", "sub_category"];
  const data = JSON.parse(document.getElementById("questions-data").textContent);
  const isPair = data.names.length === 2;
  const control = name => document.getElementById(name);
  const form = control("filters"), list = control("list");
  let shown = data.questions, page = 0;

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children.filter(child => child !== null && child !== undefined));
    return made;
  }

  // Filters and order.
  function texts(question) {
    if (!question.texts) {
      const said = question.said.flatMap(s => [s.think, s.output, s.raw, s.error, ...(s.samples || []).map(x => x.text)]);
      question.texts = [question.id, question.question, ...question.choices, ...said].join("\n").toLowerCase();
    }
    return question.texts;
  }

  function apply() {
    const text = control("filter-text").value.trim().toLowerCase();
    const outcome = control("filter-outcome").value;
    const wanted = FIELDS.map(name => [name, control("filter-" + name).value]).filter(pair => pair[1]);
    shown = data.questions.filter(question =>
      wanted.every(([name, value]) => question[name] === value)
      && (!outcome || question.outcomes.includes(outcome))
      && (!text || texts(question).includes(text)));
    const order = control("order").value;
    if (order) shown.sort(comparisons[order]);
    page = 0;
    draw();
  }

  const longest = name => (a, b) => Math.max(...b.said.map(s => s[name] || 0)) - Math.max(...a.said.map(s => s[name] || 0));
  const comparisons = {
    id: (a, b) => a.id < b.id ? -1 : 1,
    sub_category: (a, b) => a.sub_category.localeCompare(b.sub_category),
    think_words: longest("think_words"),
    tokens: longest("tokens"),
  };

  // One page of the list.
  function draw() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
    list.replaceChildren(...shown.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map(item));
    control("count").textContent = `${shown.length.toLocaleString("en")} of ${data.questions.length.toLocaleString("en")} questions`;
    for (const pager of document.querySelectorAll(".pager")) {
      pager.querySelector(".previous").disabled = page === 0;
      pager.querySelector(".next").disabled = page === pages - 1;
      pager.querySelector(".at").textContent = `page ${page + 1} of ${pages}`;
    }
  }

  function turn(by, pager) {
    page += by;
    draw();
    if (pager === 0) return;
    list.scrollIntoView();
    list.querySelector("summary").focus({preventScroll: true});
  }

  function item(question) {
    const verdicts = question.said.map((s, i) => verdict(s, isPair ? data.names[i] : null));
    const place = [question.task, question.difficulty, question.sub_category].filter(Boolean).join(" / ");
    const made = element("details", "card item", element("summary", "",
      element("span", "verdicts", ...verdicts),
      element("span", "question", question.question),
      element("span", "quiet place", place)));
    made.addEventListener("toggle", () => {
      if (made.open && made.childElementCount === 1) made.append(body(question));
    });
    return made;
  }

  function verdict(said, name) {
    const word = data.words[said.verdict] || "answered";
    const made = element("span", "verdict " + said.verdict, said.verdict === "missing" ? "missing" : word);
    if (name) made.title = `${name}: ${word}`;
    return made;
  }

  // An open question.
  function body(question) {
    const made = element("div", "body", options(question));
    if (question.answer !== null && question.gold.length === 0)
      made.append(element("p", "quiet", `The right answer, "${question.answer}", is none of the choices.`));
    made.append(question.clip ? player(question.clip, "Clip of " + question.id)
      : element("p", "quiet", "No sound: " + question.silent));
    made.append(element("div", "completions", ...question.said.map(completion)));
    made.append(element("p", "quiet", "id " + question.id));
    return made;
  }

  function options(question) {
    return element("ul", "options", ...question.choices.map((choice, place) => {
      const isGold = question.gold.includes(place);
      const made = element("li", isGold ? "gold" : "", element("span", "text", choice));
      if (isGold) made.append(element("span", "mark gold", "right answer"));
      question.said.forEach((said, i) => {
        if (said.chosen === place)
          made.append(element("span", "mark chosen", isPair ? `chosen by ${data.names[i]}` : "chosen"));
      });
      return made;
    }));
  }

  function completion(said, number) {
    const made = element("div", "completion " + said.verdict);
    if (isPair) made.append(element("h4", "", data.names[number]));
    if (said.verdict === "missing") made.append(element("p", "", "There is no prediction."));
    if (said.error) made.append(element("p", "", "Failed: " + said.error));
    const parts = [["think", said.think], ["answer", said.output]].filter(part => part[1]);
    made.append(element("dl", "", ...parts.flatMap(([name, text]) =>
      [element("dt", "", name), element("dd", name, text)])));
    const flags = said.outcomes.map(key => data.words[key]);
    if (said.tokens) flags.push(`${said.tokens} tokens`);
    if (said.think_words) flags.push(`${said.think_words} words of think`);
    made.append(element("p", "quiet", flags.join(", ")));
    if (said.raw) made.append(folded("the whole completion", element("pre", "", said.raw)));
    if (said.samples && said.samples.length > 1) made.append(samples(said.samples));
    return made;
  }

  function samples(all) {
    const right = all.filter(sample => sample.right).length;
    return folded(`${all.length} samples, ${right} right`, ...all.map(sample =>
      element("pre", "", element("span", sample.right ? "mark gold" : "mark", sample.right ? "right " : ""), sample.text)));
  }

  function folded(title, ...children) {
    return element("details", "", element("summary", "", title), ...children);
  }

  // Events.
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  document.querySelectorAll(".pager").forEach((pager, number) => {
    pager.querySelector(".previous").addEventListener("click", () => turn(-1, number));
    pager.querySelector(".next").addEventListener("click", () => turn(1, number));
  });
  for (const link of document.querySelectorAll("button[data-filter]"))
    link.addEventListener("click", () => {
      form.reset();
      control("filter-" + link.dataset.filter).value = link.dataset.value;
      apply();
      control("questions").scrollIntoView();
      control("filter-" + link.dataset.filter).focus({preventScroll: true});
    });
  document.addEventListener("keydown", event => {
    const isTyping = event.target.closest("input, select");
    if (event.key === "/" && !isTyping) { event.preventDefault(); control("filter-text").focus(); }
    if (["ArrowDown", "ArrowUp"].includes(event.key) && event.target.matches("#list > details > summary")) {
      const next = event.target.parentElement[event.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling"];
      if (next) { event.preventDefault(); next.firstChild.focus(); }
    }
  });
  apply();
})();
