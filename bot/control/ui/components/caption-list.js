/** `<qn-captions>`: who said what. A segment keeps its place while its words firm up; the reader's place is kept too. */

import { el, fill, text } from "../js/dom.js";
import { clock } from "../js/format.js";
import { icon } from "../js/icons.js";
import { hush, say } from "../js/announce.js";

const NEAR_END_PX = 48;

export class CaptionList extends HTMLElement {
  #list;
  #empty;
  #latest;
  #rows = new Map();
  #marks = new Set();
  #room = null;
  #following = true;
  #height = 0;

  connectedCallback() {
    if (this.firstChild) return;
    this.#empty = el("div", { class: "empty" });
    this.#list = el("ol", { class: "captions" });
    this.#latest = el(
      "button",
      { type: "button", class: "btn btn-latest", hidden: true, on: { click: () => this.#toEnd() } },
      icon("down", 18),
      "Latest",
    );
    const scroller = el(
      "div",
      { class: "caption-scroll", tabindex: "0", role: "region", "aria-label": "Captions" },
      this.#empty,
      this.#list,
    );
    scroller.addEventListener("scroll", () => {
      // the list was folded, unfolded or resized: nobody scrolled
      if (scroller.clientHeight !== this.#height) return;
      this.#following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
      if (this.#following) this.#latest.hidden = true;
    });
    this.scroller = scroller;
    new ResizeObserver(() => {
      this.#height = scroller.clientHeight;
      if (this.#following) scroller.scrollTop = scroller.scrollHeight;
    }).observe(scroller);
    fill(this, scroller, this.#latest);
    this.explain("Captions appear here while recording is on.");
  }

  /** Follow a room's captions. */
  attach(room) {
    this.#room = room;
    room.captions.addEventListener("put", ({ detail }) => this.#put(detail));
    room.captions.addEventListener("remove", ({ detail }) => this.#remove(detail));
    room.captions.addEventListener("clear", () => this.#clear());
    room.addEventListener("roster", () => this.#rename());
  }

  /** What stands here while there is nothing yet. */
  explain(words) {
    fill(this.#empty, icon("captions", 28), el("p", { text: words }));
    this.#empty.hidden = this.#rows.size > 0;
  }

  /** Set a mark between the captions, such as a pause; `kind` of the same moment is the same mark. */
  mark(words, startMs, kind) {
    const key = `${kind}|${startMs}`;
    if (this.#marks.has(key)) return;
    this.#marks.add(key);
    const row = el("li", { class: "caption-mark" }, el("span", { text: words }));
    row.dataset.start = String(startMs);
    this.#place(row, startMs);
    this.#keepUp();
  }

  #put(segment) {
    let row = this.#rows.get(segment.id);
    if (!row) {
      const node = el(
        "li",
        { class: "caption", data: { segment: segment.id, participant: segment.speakers.join(" ") } },
        el(
          "div",
          { class: "caption-who" },
          el("span", { class: "caption-name" }),
          el("span", { class: "caption-time" }),
        ),
        el("p", { class: "caption-text" }),
      );
      row = {
        node,
        words: node.lastChild,
        name: node.querySelector(".caption-name"),
        time: node.querySelector(".caption-time"),
      };
      this.#rows.set(segment.id, row);
      this.#place(node, segment.startMs);
      this.#empty.hidden = true;
    }
    const name = this.#room.speakersOf(segment.speakers);
    text(row.name, name);
    text(row.time, clock(segment.startMs));
    text(row.words, segment.text);
    row.node.dataset.own = String(segment.speakers.includes(this.#room.me?.participant_id));
    row.node.dataset.final = String(segment.final);
    if (segment.final && !segment.earlier) say(`${name}: ${segment.text}`);
    this.#keepUp();
  }

  #remove(id) {
    this.#rows.get(id)?.node.remove();
    this.#rows.delete(id);
    this.#empty.hidden = this.#rows.size > 0;
  }

  #clear() {
    this.#rows.clear();
    this.#marks.clear();
    this.#list.replaceChildren();
    this.#empty.hidden = false;
    this.#latest.hidden = true;
    hush("polite");
  }

  #place(node, startMs) {
    node.dataset.start = String(startMs);
    let after = this.#list.lastElementChild;
    while (after && Number(after.dataset.start) > startMs) after = after.previousElementSibling;
    if (after) after.after(node);
    else this.#list.prepend(node);
  }

  #rename() {
    for (const { node, name } of this.#rows.values()) text(name, this.#room.speakersOf(node.dataset.participant.split(" ")));
  }

  #keepUp() {
    if (this.#following) this.scroller.scrollTop = this.scroller.scrollHeight;
    else this.#latest.hidden = false;
  }

  #toEnd() {
    this.#following = true;
    this.#latest.hidden = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.scroller.focus();
  }
}

customElements.define("qn-captions", CaptionList);
