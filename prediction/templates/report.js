const show = { outcome: "", text: "" };
const items = [...document.querySelectorAll("[data-outcome]")];
function filter() {
  for (const item of items)
    item.hidden = (show.outcome && item.dataset.outcome !== show.outcome) || !item.dataset.name.includes(show.text);
}
for (const button of document.querySelectorAll("nav button"))
  button.onclick = () => {
    show.outcome = button.dataset.show;
    for (const other of document.querySelectorAll("nav button")) other.setAttribute("aria-pressed", other === button);
    filter();
  };
document.querySelector("nav input").oninput = (event) => {
  show.text = event.target.value.toLowerCase();
  filter();
};
const body = document.querySelector("tbody");
document.querySelectorAll("th").forEach((head, column) => {
  if (!head.textContent) return;
  head.onclick = () => {
    const down = (head.dataset.down = head.dataset.down === "1" ? "" : "1");
    const value = (row) => {
      const cell = row.children[column];
      const text = cell.dataset.value ?? cell.textContent;
      return text !== "" && !isNaN(text) ? Number(text) : text;
    };
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? 1 : -1);
    });
    body.append(...rows);
  };
});
