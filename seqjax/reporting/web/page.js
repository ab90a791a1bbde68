// Draws the plots, lets the tables be sorted and searched, and links both: what is pointed at
// stands out everywhere, what a search or the legend leaves out disappears from the plots.
const unpack = async (name) => {
  const packed = document.getElementById(name).textContent;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};
const address = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
const add = (kind, fields) =>
  document.head.insertBefore(Object.assign(document.createElement(kind), fields),
    document.head.querySelector("style"));

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 600px)");
const plots = [];

// The theme of a plot: the colours of the page.
const template = () => {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const axis = { gridcolor: color("line"), linecolor: color("strong"), automargin: true,
    zerolinecolor: color("line"), tickcolor: color("strong"), title: { standoff: 8 },
    separatethousands: true, exponentformat: "none" };
  return { layout: {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("text"), size: narrow.matches ? 11 : 12, family: "inherit" },
    xaxis: axis, yaxis: axis, hovermode: "closest",
    margin: { l: 48, r: 14, t: 28, b: 40 },
    hoverlabel: { bgcolor: color("raised"), bordercolor: color("strong"), align: "left",
      font: { color: color("text") }, namelength: -1 },
    annotationdefaults: { bgcolor: color("back"), font: { size: 11 } },
    modebar: { color: color("strong"), activecolor: color("text"), bgcolor: "rgba(0,0,0,0)" },
  } };
};

const draw = async (section) => {
  const element = section.querySelector(".figure");
  const spec = JSON.parse(section.querySelector("script").textContent);
  spec.layout.template = template();
  await Plotly.newPlot(element, spec.data, spec.layout, { responsive: true, displaylogo: false,
    displayModeBar: narrow.matches ? false : undefined,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  plots.push(element);
  element.on("plotly_hover", (event) => mark(event.points[0].data.meta ?? event.points[0].customdata));
  element.on("plotly_unhover", () => mark(""));
  section.querySelectorAll("input[data-axis]").forEach((box) => box.addEventListener("change", () => {
    const axis = `${box.dataset.axis}axis`;
    Plotly.relayout(element, { [`${axis}.type`]: box.checked ? "log" : "linear",
      [`${axis}.autorange`]: true });
  }));
};

// Lets a trial stand out in all plots, tables and legends; '' lets none.
const mark = (trial) => {
  document.querySelectorAll("tr.on, button.on").forEach((one) => one.classList.remove("on"));
  if (trial) {
    document.querySelectorAll(`[data-trial="${CSS.escape(trial)}"]`)
      .forEach((one) => one.classList.add("on"));
  }
  plots.forEach((element) => {
    const on = new Set(element.data.filter((trace) => trace.meta === trial).map((t) => t.uid));
    element.classList.toggle("dim", Boolean(trial) && on.size > 0);
    element.querySelectorAll("g.trace").forEach((group) => {
      const found = [...on].some((uid) => group.classList.contains(`trace${uid}`));
      group.classList.toggle("on", found);
    });
  });
};

// Hides in the plots of a group what its table's search or its legend leaves out.
const hidden = new Map();
const filter = (group) => {
  const out = hidden.get(group);
  const shown = (trial) => !(out.table.has(trial) || out.legend.has(trial));
  group.querySelectorAll(".figure").forEach((element) => {
    element.data?.forEach((trace, number) => {
      if (!trace.meta && trace.customdata) {
        Plotly.restyle(element, { "marker.opacity": [trace.customdata.map(shown).map(Number)] }, [number]);
      }
    });
    if (element.data?.some((trace) => trace.meta)) {
      Plotly.restyle(element, { visible: element.data.map((trace) => !trace.meta || shown(trace.meta)) });
    }
  });
};

const arrange = (DataTable, table) => {
  const heads = [...table.querySelectorAll("th")];
  const targets = heads.flatMap((head, column) => ("hidden" in head.dataset ? [column] : []));
  const many = table.tBodies[0].rows.length > 25;
  const sorted = new DataTable(table, {
    autoWidth: false, info: many, order: [], orderMulti: true, paging: many, pageLength: 20,
    lengthMenu: [20, 50, 100, { label: "all", value: -1 }], language: { search: "Search" },
    columnDefs: [{ targets, visible: false }],
    columnControl: [["orderAsc", "orderDesc", "search"]], ordering: { indicators: false, handler: true },
    layout: { topStart: targets.length ? { buttons: [{ extend: "colvis", text: "Columns" }] } : null,
      topEnd: heads.length > 1 && table.tBodies[0].rows.length > 3 ? "search" : null,
      bottomStart: many ? "info" : null, bottomEnd: many ? ["pageLength", "paging"] : null },
  });
  const group = table.closest(".group");
  if (!group) return;
  let timer = 0;
  sorted.on("search", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const shown = new Set(sorted.rows({ search: "applied" }).nodes().toArray().map((row) => row.dataset.trial));
      const rows = sorted.rows().nodes().toArray().map((row) => row.dataset.trial);
      hidden.get(group).table = new Set(rows.filter((trial) => !shown.has(trial)));
      filter(group);
    }, 200);
  });
};

document.querySelectorAll(".group").forEach((group) => {
  hidden.set(group, { table: new Set(), legend: new Set() });
  group.addEventListener("mouseover", (event) => {
    const one = event.target.closest("[data-trial]");
    if (one) mark(one.dataset.trial);
  });
  group.addEventListener("mouseout", (event) => {
    if (event.target.closest("[data-trial]")) mark("");
  });
  group.querySelectorAll(".legend button").forEach((button) => button.addEventListener("click", () => {
    const out = hidden.get(group).legend, trial = button.dataset.trial;
    out.delete(trial) || out.add(trial);
    button.setAttribute("aria-pressed", String(!out.has(trial)));
    filter(group);
  }));
});

add("style", { textContent: await unpack("datatables-style") });
const themed = () => document.documentElement.classList.toggle("dark", dark.matches);
themed();
const { default: DataTable } = await import(address(await unpack("datatables")));
document.querySelectorAll("table.sorted").forEach((table) => arrange(DataTable, table));
await new Promise((done, failed) =>
  unpack("plotly").then((text) => add("script", { src: address(text), onload: done, onerror: failed })));
for (const section of document.querySelectorAll("section.plot")) await draw(section);
dark.addEventListener("change", () => {
  themed();
  plots.forEach((element) => Plotly.relayout(element, { template: template() }));
});
document.documentElement.dataset.ready = "yes";
