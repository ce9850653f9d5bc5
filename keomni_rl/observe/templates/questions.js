// The questions of one evaluation or two: what the list of them shows, and a question that is opened.
(() => {
  const data = JSON.parse(document.getElementById("questions-data").textContent);
  const isPair = data.names.length === 2;

  function texts(question) {
    if (!question.texts) {
      const said = question.said.flatMap(s => [s.think, s.output, s.raw, s.error, ...(s.samples || []).map(x => x.text)]);
      question.texts = [question.id, question.question, ...question.choices, ...said].join("\n").toLowerCase();
    }
    return question.texts;
  }

  const is = name => (question, value) => question[name] === value;
  const longest = name => (a, b) => Math.max(...b.said.map(s => s[name] || 0)) - Math.max(...a.said.map(s => s[name] || 0));

  // A row of the list.
  function summary(question) {
    const verdicts = question.said.map((s, i) => verdict(s, isPair ? data.names[i] : null));
    const place = [question.task, question.difficulty, question.sub_category].filter(Boolean).join(" / ");
    return [element("span", "verdicts", ...verdicts), element("span", "question", question.question),
      element("span", "quiet place", place)];
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
    made.append(sound(question));
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
    made.append(pairs(["think", said.think, "think"], ["answer", said.output, "answer"]));
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

  browse({
    rows: data.questions, noun: "questions", texts, summary, body,
    address: question => "question-" + encodeURIComponent(question.id),
    filters: {
      outcome: (question, value) => question.outcomes.includes(value),
      task: is("task"), difficulty: is("difficulty"), sub_category: is("sub_category"),
    },
    comparisons: {
      id: (a, b) => a.id < b.id ? -1 : 1,
      sub_category: (a, b) => a.sub_category.localeCompare(b.sub_category),
      think_words: longest("think_words"),
      tokens: longest("tokens"),
    },
  });
})();
