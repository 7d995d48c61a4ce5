"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const section = document.getElementById("whatif");

  function costs() {
    const numbers = section.dataset.numbers;
    const money = new Intl.NumberFormat(numbers, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    const count = new Intl.NumberFormat(numbers, { maximumFractionDigits: 0 });
    const times = new Intl.NumberFormat(numbers, { maximumFractionDigits: 2 });
    const traffic = Number(document.getElementById("traffic").value);
    const prices = new Map(all("input.price", section).map((s) => [s.dataset.gpu, Number(s.value)]));
    for (const slider of all("input[type=range]", section)) {
      section.querySelector(`output[for="${slider.id}"]`).textContent = `${times.format(Number(slider.value))}×`;
    }
    let planned = 0;
    let cheapest = 0;
    for (const table of all("table.whatif", section)) {
      const rows = all("tbody tr", table).map((row) => {
        const share = Number(row.dataset.share);
        const least = share > 0 ? Math.max(1, Math.ceil(traffic / share - 1e-9)) : Number(row.dataset.replicas);
        const today = share > 0 ? Math.max(1, Math.ceil(1 / share - 1e-9)) : least;
        const replicas = Number(row.dataset.replicas) + least - today;
        const gpus = Math.max(1, replicas) * Number(row.dataset.each);
        const cost = gpus * Number(row.dataset.cost) * (prices.get(row.dataset.gpu) ?? 1);
        row.querySelector(".gpus").textContent = count.format(gpus);
        row.querySelector(".cost").textContent = money.format(cost);
        return { row, cost };
      });
      rows.sort((a, b) => a.cost - b.cost);
      table.tBodies[0].append(...rows.map((r) => r.row));
      planned += rows.find((r) => r.row.classList.contains("planned")).cost;
      cheapest += rows[0].cost;
    }
    document.getElementById("sum-planned").textContent = money.format(planned);
    document.getElementById("sum-cheapest").textContent = money.format(cheapest);
  }

  function plain(text) {
    const latin = text.replace(/[\u06f0-\u06f9]/g, (d) => String(d.charCodeAt(0) - 0x6f0)).replace(/[\u2066\u2069\u200e]/g, "");
    const comma = (document.documentElement.lang || "en") === "de" ? "." : /[,\u066c]/g;
    const bare = comma === "." ? latin.replaceAll(".", "").replace(",", ".") : latin.replace(comma, "").replace("\u066b", ".");
    const found = bare.replace("\u2212", "-").match(/^[^\d+-]{0,3}([+-]?\d+(\.\d+)?)/);
    return found ? Number(found[1]) : null;
  }

  function sortable(table) {
    const body = table.tBodies[0];
    if (!table.tHead || !body || body.rows.length < 2) return;
    all("th", table.tHead).forEach((head, column) => {
      if (!head.textContent.trim() || head.querySelector(".visually-hidden")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("th", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = Array.from(body.rows, (row) => {
          const text = row.cells[column].textContent.trim();
          return { row, text, number: plain(text) };
        });
        const numeric = rows.every((r) => r.number !== null || r.text === "" || r.text === "–");
        rows.sort((a, b) => (numeric ? (a.number ?? Infinity) - (b.number ?? Infinity) : a.text.localeCompare(b.text)));
        body.append(...(down ? rows.reverse() : rows).map((r) => r.row));
      });
    });
  }

  if (section) all("input[type=range]", section).forEach((slider) => slider.addEventListener("input", costs));
  all("table").forEach(sortable);
})();
