// The question, and the answers of all models as they come. What a model says becomes text nodes.
(() => {
  const byId = id => document.getElementById(id);
  const choices = byId("choices"), go = byId("go"), temperature = byId("temperature");
  const cards = [...document.querySelectorAll("#answers article")];
  let underWay = null;

  // Choices: Enter leads to the next one, Backspace takes an empty one away.
  function add(focus = true) {
    if (choices.children.length >= clip.limits.maxChoices) return;
    const line = document.createElement("li"), text = document.createElement("input"), away = document.createElement("button");
    text.maxLength = 500;
    away.type = "button";
    away.textContent = "\u00d7";
    away.addEventListener("click", () => remove(line));
    text.addEventListener("keydown", event => {
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        const next = line.nextElementSibling;
        next ? next.querySelector("input").focus() : text.value && add();
      } else if (event.key === "Backspace" && !text.value) {
        event.preventDefault();
        remove(line);
      }
    });
    line.append(text, away);
    choices.append(line);
    number();
    if (focus) text.focus();
  }

  function remove(line) {
    const near = line.previousElementSibling || line.nextElementSibling;
    line.remove();
    number();
    (near ? near.querySelector("input") : byId("add")).focus();
  }

  function number() {
    [...choices.children].forEach((line, index) => {
      line.querySelector("input").setAttribute("aria-label", `choice ${index + 1}`);
      line.querySelector("input").placeholder = `choice ${index + 1}`;
      line.querySelector("button").setAttribute("aria-label", `remove choice ${index + 1}`);
    });
    byId("add").disabled = choices.children.length >= clip.limits.maxChoices;
  }

  function written() {
    return [...choices.querySelectorAll("input")].map(input => input.value.trim()).filter(Boolean);
  }

  // One model's answer, line by line.
  async function ask(card, index, form, options, signal) {
    const part = name => card.querySelector(name);
    const state = text => { part(".state").textContent = text; part(".state").classList.remove("failed"); };
    part("dl").hidden = part(".chosen").hidden = part(".figures").hidden = true;
    state("Listening.");
    const reply = await fetch(`ask/${index}`, {method: "POST", body: form, signal});
    if (!reply.ok) throw new Error((await reply.json()).error);
    part("dl").hidden = false;
    part(".think").textContent = part(".answer").textContent = "";
    state("Answering.");
    let said = null;
    for await (said of lines(reply.body)) {
      if (said.error) throw new Error(said.error);
      for (const name of ["think", "answer"]) {
        part("." + name).textContent = said[name];
        part("." + name).hidden = part("." + name).previousElementSibling.hidden = !said[name] && name === "think";
      }
      figures(part(".figures"), said);
    }
    if (!said || !said.finish_reason) throw new Error("the answer broke off");
    state(said.finish_reason === "length" ? "Cut off: start with a higher --max-new-tokens." : "Finished.");
    if (options.length) chosen(part(".chosen"), options, said.choice);
  }

  async function* lines(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let {value, done} = await reader.read(); !done; {value, done} = await reader.read()) {
      const whole = (rest + value).split("\n");
      rest = whole.pop();
      for (const line of whole) yield JSON.parse(line);
    }
  }

  function figures(place, said) {
    const pace = said.seconds > 0 ? (said.num_tokens / said.seconds).toFixed(1) : "-";
    const end = said.finish_reason ? `, ended by ${said.finish_reason}` : "";
    place.textContent = `${said.num_tokens} tokens, ${pace} tokens/s, ${said.seconds.toFixed(1)} s${end}`;
    place.hidden = false;
  }

  function chosen(place, options, choice) {
    place.replaceChildren(...options.map((option, index) => {
      const badge = document.createElement("span");
      badge.className = index === choice ? "choice solution" : "choice";
      badge.textContent = option;
      if (index === choice) badge.setAttribute("aria-label", `chosen: ${option}`);
      return badge;
    }));
    if (choice === null) place.append("none of them");
    place.hidden = false;
  }

  function form(options) {
    const data = new FormData();
    data.append("clip", clip.file());
    data.append("question", byId("question").value.trim());
    for (const option of options) data.append("choices", option);
    data.append("thinks", byId("thinks").checked);
    data.append("temperature", temperature.value);
    return data;
  }

  async function submit(event) {
    event.preventDefault();
    if (underWay) return underWay.abort();
    if (clip.isRecording()) return clip.tell("Stop the recording first.");
    if (!clip.file()) return clip.tell("Record a clip, choose a file or drop one first.");
    clip.tell();
    const {signal} = underWay = new AbortController(), options = written();
    go.textContent = "Stop";
    const troubles = await Promise.all(cards.map(async (card, index) => {
      try {
        await ask(card, index, form(options), options, signal);
      } catch (error) {
        const state = card.querySelector(".state");
        state.textContent = signal.aborted ? "Stopped." : "No answer.";
        state.classList.toggle("failed", !signal.aborted);
        return signal.aborted ? null : error.message;
      }
    }));
    underWay = null;
    go.textContent = "Ask";
    const [first] = troubles.filter(Boolean);
    if (first) clip.tell(first);
  }

  byId("ask").addEventListener("submit", submit);
  byId("add").addEventListener("click", () => add());
  temperature.addEventListener("input", () => {
    byId("degrees").textContent = +temperature.value ? (+temperature.value).toFixed(1) : "greedy";
  });
  document.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      byId("ask").requestSubmit();
    }
  });
})();
