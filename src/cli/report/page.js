"use strict";
const field = document.getElementById("filter");
const rows = [...document.querySelectorAll("#calls tbody tr")];
const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
const shown = document.getElementById("shown");
function filter() {
  const words = field.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  let count = 0;
  rows.forEach((row, index) => {
    const wanted = words.every((word) => texts[index].includes(word));
    row.hidden = !wanted;
    count += wanted ? 1 : 0;
  });
  shown.textContent = `${count} of ${rows.length} calls`;
}
field.hidden = false;
field.addEventListener("input", filter);
filter();
