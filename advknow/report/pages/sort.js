for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const body = head.closest("table").tBodies[0];
    const order = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
    const key = (row) => row.children[head.cellIndex].dataset.value;
    const number = (text) => (text === "" ? -Infinity : Number(text));
    body.append(...[...body.rows].sort((a, b) => order * (number(key(a)) - number(key(b))
      || key(a).localeCompare(key(b), undefined, {numeric: true}))));
  });
}
