/** The waiting room: who will be listening, one's own picture and microphone, and what is the matter with them. */

import "../components/device-panel.js";
import "../components/notice-list.js";
import { cameraHelp, microphoneHelp } from "./devicehelp.js";
import { el, fill, keep, text } from "./dom.js";
import { icon } from "./icons.js";
import { inRow } from "./people.js";
import { calledFor, HELD, inOrder } from "./words.js";

const LOST = "The connection is interrupted. Trying again by itself…";
const NO_PROGRAM = (clinician) =>
  `No program listens to you unless you agree. If ${clinician} would like the session written down by a program, ` +
  "you are asked first and may say no.";

export class WaitingRoom {
  #room;
  #title = el("h1", { text: "One moment…" });
  #words = el("p", { class: "lead", role: "status" });
  #listening = el("div", { class: "listening" });
  #trouble = el("qn-notices");
  #mic = el("div", { class: "preview-mic" });
  #picture = el("video", {
    class: "preview-video",
    autoplay: true,
    playsinline: true,
    muted: true,
    "aria-label": "Your own picture",
  });
  #noPicture = el("p", { class: "preview-none" }, icon("camera-off", 28), el("span"));

  constructor(room) {
    this.#room = room;
    const panel = el("qn-devices");
    panel.attach(room.devices);
    this.node = el(
      "div",
      { class: "waiting" },
      el("div", { class: "waiting-words" }, this.#title, this.#words, this.#listening, this.#trouble),
      el(
        "div",
        { class: "waiting-devices" },
        el("div", { class: "preview" }, this.#noPicture, this.#picture),
        this.#mic,
        panel,
      ),
    );
    room.addEventListener("devices", () => this.#devices());
    this.#devices();
    this.show();
  }

  /** Say how things stand. */
  show() {
    const { welcome, connection, others, held } = this.#room;
    const untold = ["revoked", "declined"].find((no) => held.has(no));
    if (untold) this.#trouble.put("held", { tone: "warn", shape: "torn", title: HELD[untold] });
    else this.#trouble.drop("held");
    if (!welcome) {
      text(this.#words, connection === "lost" ? LOST : "Connecting to the waiting room…");
      return;
    }
    const clinicians = others.filter((member) => member.role === "clinician");
    const names = clinicians.map((member) => member.display_name).join(" and ") || "your clinician";
    text(this.#title, `Hello, ${inRow([welcome.you, ...(welcome.also_here ?? [])].map((person) => person.display_name), "and")}`);
    if (connection !== "open") text(this.#words, LOST);
    else if (clinicians.some((member) => member.present)) text(this.#words, `${names} is here and will let you in.`);
    else text(this.#words, `${names} will let you in when the session starts. You can leave this page open.`);
    keep(this.#listening, JSON.stringify([welcome.invited, welcome.clinic.name]), () => this.#listeners(welcome));
  }

  /** Everybody who is invited, by name; programs come last. */
  #listeners({ invited, you, clinic, also_here: also }) {
    const here = new Set([you, ...(also ?? [])].map((person) => person.participant_id));
    const others = inOrder(invited.filter((person) => !here.has(person.participant_id)));
    const line = (shape, ...words) => el("li", {}, icon(shape, 18), el("span", {}, words));
    return [
      el("h2", { text: "Who will be listening" }),
      el(
        "ul",
        {},
        others.map(({ display_name: name, role }) =>
          line("person", name, el("span", { class: "second", text: `, ${calledFor(role, you.role)}` })),
        ),
        line("listen", NO_PROGRAM(calledFor("clinician", you.role))),
      ),
      el("p", { class: "second small", text: clinic.name }),
    ];
  }

  #devices() {
    const { devices } = this.#room;
    const stream = this.#picture.srcObject;
    if (devices.video && stream?.getVideoTracks()[0] !== devices.video)
      this.#picture.srcObject = new MediaStream([devices.video]);
    this.#picture.hidden = !devices.video;
    this.#noPicture.hidden = Boolean(devices.video);
    const asking = "The browser asks whether this page may use camera and microphone";
    const off = devices.camera === "asking" ? asking : "Camera off";
    text(this.#noPicture.lastChild, cameraHelp(devices.camera)?.title ?? off);
    this.#microphone(devices);
  }

  #microphone(devices) {
    const help = microphoneHelp(devices.mic);
    const words = {
      ready: "Your microphone works. Say something to see it move.",
      muted: "Muted",
      asking: "Waiting for the microphone…",
    };
    this.#mic.dataset.state = devices.mic;
    fill(this.#mic, icon(help ? "mic-off" : "mic", 18), el("span", { text: words[devices.mic] ?? help?.title }));
    if (!help) {
      this.#trouble.drop("microphone");
      return;
    }
    this.#trouble.put("microphone", {
      tone: devices.mic === "silent" ? "warn" : "bad",
      shape: "mic-off",
      title: help.title,
      words: help.why,
      steps: help.steps,
      hint: help.hint,
      actions: [{ label: "Try again", accent: true, act: () => devices.openMicrophone() }],
    });
  }
}
