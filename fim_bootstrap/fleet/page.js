const tool = document.getElementById("filter");
if (tool) {
  const rows = [...document.querySelectorAll("#hosts tbody tr")];
  const [word, state] = tool.querySelectorAll("input, select");
  tool.hidden = false;
  tool.addEventListener("input", () => {
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = (!state.value || row.dataset.state === state.value) && text.includes(word.value.toLowerCase());
      row.hidden = !fits;
      shown += fits;
    }
    tool.querySelector("output").value = shown + " of " + rows.length + " rows";
  });
}
