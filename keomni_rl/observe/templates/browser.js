// A list of rows: searched, filtered, ordered, one page of it at a time. A row's body is made when it
// is opened, and then the page's address leads to it.
//
//   rows         all of them; their number is told as so many `noun`
//   filters      name -> whether a row passes a value of the control "filter-NAME"
//   comparisons  value of the control "order" -> how to compare two rows
//   prepare      makes texts ready to be searched, if they are not at hand
//   texts        what a search looks through, in lower case
//   address      of a row in this page, without "#"
//   summary      elements of a closed row
//   body         the element that an open row has below, or a promise of it
function browse({rows, noun, filters, comparisons, prepare, texts, address, summary, body}) {
  const PAGE_SIZE = 25;
  const control = name => document.getElementById(name);
  const form = control("filters"), list = control("list");
  let shown = rows, page = 0, asked = 0;

  // What is shown, in which order.
  async function apply() {
    const turn = ++asked;
    const text = control("filter-text").value.trim().toLowerCase();
    if (text && prepare) {
      control("count").textContent = "reading the texts...";
      await prepare();
      if (turn !== asked) return;
    }
    const wanted = Object.entries(filters).map(([name, passes]) => [passes, control("filter-" + name).value]).filter(pair => pair[1]);
    shown = rows.filter(row => wanted.every(([passes, value]) => passes(row, value)) && (!text || texts(row).includes(text)));
    const order = control("order").value;
    if (order) shown.sort(comparisons[order]);
    page = 0;
    draw();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
    list.replaceChildren(...shown.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map(item));
    control("count").textContent = `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${noun}`;
    for (const pager of document.querySelectorAll(".pager")) {
      pager.querySelector(".previous").disabled = page === 0;
      pager.querySelector(".next").disabled = page === pages - 1;
      pager.querySelector(".at").textContent = `page ${(page + 1).toLocaleString("en")} of ${pages.toLocaleString("en")}`;
    }
  }

  function item(row) {
    const made = element("details", "card item", element("summary", "", ...summary(row)));
    made.addEventListener("toggle", async () => {
      if (!made.open) return;
      history.replaceState(null, "", "#" + address(row));
      if (made.dataset.filled) return;
      made.dataset.filled = "yes";
      made.append(await body(row));
    });
    return made;
  }

  // Going from page to page and from row to row.
  function turn(by, pager) {
    page += by;
    draw();
    if (pager === 0) return;
    list.scrollIntoView();
    list.querySelector("summary").focus({preventScroll: true});
  }

  function step(by) {
    const items = [...list.children];
    const current = items.indexOf(document.activeElement.closest("#list > details"));
    let next = current < 0 ? 0 : current + by;
    const isReading = current >= 0 && items[current].open;
    const number = page * PAGE_SIZE + next;
    if (number < 0 || number >= shown.length) return;
    if (next < 0 || next >= items.length) {
      page += by;
      draw();
      next = by > 0 ? 0 : list.childElementCount - 1;
    } else if (isReading) items[current].open = false;
    show(list.children[next], isReading);
  }

  function show(details, isOpen) {
    if (isOpen) details.open = true;
    details.firstChild.focus({preventScroll: true});
    details.scrollIntoView({block: isOpen ? "start" : "nearest"});
  }

  async function goToAddress() {
    const wanted = location.hash.slice(1);
    const row = wanted && rows.find(one => address(one) === wanted);
    if (!row) return;
    if (!shown.includes(row)) { form.reset(); await apply(); }
    const place = shown.indexOf(row);
    page = Math.floor(place / PAGE_SIZE);
    draw();
    show(list.children[place % PAGE_SIZE], true);
  }

  // Events.
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  form.querySelector("[type=reset]").addEventListener("click", () => setTimeout(apply));
  window.addEventListener("hashchange", goToAddress);
  document.querySelectorAll(".pager").forEach((pager, number) => {
    pager.querySelector(".previous").addEventListener("click", () => turn(-1, number));
    pager.querySelector(".next").addEventListener("click", () => turn(1, number));
  });
  for (const link of document.querySelectorAll("button[data-filter]"))
    link.addEventListener("click", () => {
      form.reset();
      control("filter-" + link.dataset.filter).value = link.dataset.value;
      apply();
      control("browser").scrollIntoView();
      control("filter-" + link.dataset.filter).focus({preventScroll: true});
    });
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, audio")) return;
    const isOnRow = event.target.matches("#list > details > summary");
    const keys = {j: 1, k: -1, ...(isOnRow ? {ArrowDown: 1, ArrowUp: -1} : {})};
    if (event.key === "/") { event.preventDefault(); control("filter-text").focus(); }
    if (event.key in keys) { event.preventDefault(); step(keys[event.key]); }
  });
  apply();
  goToAddress();
}
