/** The pictures, drawn on a 24-unit square. They say nothing by themselves: each stands beside a word. */

const NS = "http://www.w3.org/2000/svg";

const line = (d) => [
  "path",
  {
    d,
    fill: "none",
    stroke: "currentColor",
    "stroke-width": "2",
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
  },
];
const solid = (d) => ["path", { d, fill: "currentColor" }];
const disc = (cx, cy, r) => ["circle", { cx, cy, r, fill: "currentColor" }];
const ring = (cx, cy, r, width = 2) => [
  "circle",
  { cx, cy, r, fill: "none", stroke: "currentColor", "stroke-width": width },
];

const ICONS = {
  // states: a shape each
  dot: [disc(12, 12, 7)],
  bars: [solid("M6 5h4v14H6zM14 5h4v14h-4z")],
  half: [ring(12, 12, 7, 2), solid("M12 5a7 7 0 0 1 0 14z")],
  ring: [ring(12, 12, 7, 2.5)],
  steps: [disc(5, 12, 2), disc(12, 12, 2), disc(19, 12, 2)],
  check: [line("m5 12.5 4.5 4.5L19 7.5")],
  alert: [line("M12 6v7.5"), disc(12, 18, 1.4)],
  torn: [line("M2 12h5l2-3 3 6 2-3h1"), line("M19 12h3")],
  // things to press
  mic: [line("M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z"), line("M6 11a6 6 0 0 0 12 0M12 17v4")],
  "mic-off": [
    line("M9 9v2a3 3 0 0 0 5 2.2M15 9.500V6a3 3 0 0 0-5.700-1.300"),
    line("M6 11a6 6 0 0 0 9.500 4.900M18 11a6 6 0 0 1-.5 2.400M12 17v4M4 3l16 18"),
  ],
  camera: [line("M3 8a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z"), line("m15 11 6-4v10l-6-4")],
  "camera-off": [
    line("M9 6h4a2 2 0 0 1 2 2v3l6-4v10M15 15.500V16a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V8a2 2 0 0 1 1-1.700M4 3l16 18"),
  ],
  leave: [line("M14 4h5v16h-5M4 12h11M11 8l4 4-4 4")],
  sliders: [line("M4 7h9M19 7h1M4 17h1M11 17h9"), ring(16, 7, 2.5), ring(8, 17, 2.5)],
  captions: [
    line("M4 5h16a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1z"),
    line("M7 11h6M7 15h4M16 11h1M14 15h3"),
  ],
  close: [line("M6 6l12 12M18 6 6 18")],
  copy: [line("M9 9h10v11H9z"), line("M15 9V4H5v11h4")],
  print: [line("M7 9V4h10v5M7 17H4v-7h16v7h-3"), line("M7 14h10v6H7z")],
  pen: [line("M4 20l1-4L16 5l3 3L8 19z"), line("M14 7l3 3")],
  sun: [
    ring(12, 12, 4),
    line("M12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600 7 7M17 17l1.400 1.400M18.400 5.600 17 7M7 17l-1.400 1.400"),
  ],
  moon: [line("M19 14.500A8 8 0 0 1 9.500 5a7.500 7.500 0 1 0 9.500 9.500z")],
  note: [line("M6 3h9l4 4v14H6z"), line("M9 11h7M9 15h7")],
  person: [ring(12, 8, 3.5), line("M5 20c.6-4 3.500-6 7-6s6.400 2 7 6")],
  speaker: [line("M4 10v4h4l5 4V6l-5 4z"), line("M16.500 9a4 4 0 0 1 0 6M19 6.500a8 8 0 0 1 0 11")],
  shield: [line("M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z"), line("m9 11.500 2.200 2.200L15.500 9.500")],
  down: [line("m6 9 6 6 6-6")],
  quote: [line("M5 7h6v5c0 3-1.500 4.500-4 5M14 7h6v5c0 3-1.500 4.500-4 5")],
  key: [ring(8, 12, 4), line("M12 12h9M18 12v4")],
  listen: [line("M4 12h2M9 8v8M13 5v14M17 9v6M21 11v2")],
};

/** The icon `name` as an SVG element of `size` pixels, hidden from assistive technology. */
export function icon(name, size = 20) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("width", String(size));
  svg.setAttribute("height", String(size));
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  svg.classList.add("icon");
  for (const [tag, attributes] of ICONS[name]) {
    const node = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
    svg.append(node);
  }
  return svg;
}
