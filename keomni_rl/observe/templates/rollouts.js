// Each group of rollouts gets its player when it is opened.
(() => {
  const show = details => {
    const place = details.querySelector("[data-clip]");
    if (details.open && place && !place.firstChild)
      place.append(player(place.dataset.clip, place.dataset.label));
  };
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => show(details));
    show(details);
  }
})();
