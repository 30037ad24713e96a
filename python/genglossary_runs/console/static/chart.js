// A small chart of the last minute.

import { $, element, setText } from "./dom.js";
import { number, text } from "./texts.js";

const SECONDS = 60;
const HEIGHT = 24;

/** The values of the last minute, one a second, as an area below a line. */
export class Chart {
  #values = [];

  constructor(name) {
    this.svg = $(`${name}-chart`);
    this.hasSteps = this.svg.classList.contains("steps");
    this.peak = element("small");
    this.now = new Text("–");
    this.svg.parentElement.querySelector(".value").replaceChildren(this.now, this.peak);
  }

  push(value) {
    this.#values = [...this.#values, value].slice(-SECONDS - 1);
    this.show();
  }

  show() {
    const values = this.#values;
    if (values.length === 0) return;
    const most = Math.max(...values);
    const first = SECONDS + 1 - values.length;
    const points = values.map((value, place) => [first + place, HEIGHT - 1 - (HEIGHT - 2) * (value / (most || 1))]);
    const join = this.hasSteps ? ([x, y]) => `H${x}V${y}` : ([x, y]) => `L${x} ${y}`;
    const line = `M${points[0].join(" ")}${points.slice(1).map(join).join("")}`;
    this.svg.querySelector(".line").setAttribute("d", line);
    this.svg.querySelector(".area").setAttribute("d", `${line}V${HEIGHT}H${first}Z`);
    const now = number(values.at(-1));
    this.svg.ariaLabel = text("chart", now, number(most));
    setText(this.now, `${now} `);
    setText(this.peak, text("peak", number(most)));
  }
}
