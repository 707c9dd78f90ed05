/** The way out of a microphone or camera that does not work, for the browser at hand. */

/** Which browser this is, as far as the way out differs. */
export function browserName(agent = navigator.userAgent) {
  const phone = /iPhone|iPad|iPod/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1);
  if (phone) return "safari-ios";
  if (/Firefox\//.test(agent)) return "firefox";
  if (/Chrom(e|ium)\//.test(agent)) return /Android/.test(agent) ? "chrome-android" : "chrome";
  if (/Safari\//.test(agent)) return "safari";
  return "other";
}

const ALLOW = {
  chrome: (what) => [
    `Press the icon at the left end of the address bar.`,
    `Switch ${what} on.`,
    "Then press Try again.",
  ],
  "chrome-android": (what) => [
    "Tap the icon at the left end of the address bar, then Permissions.",
    `Allow ${what}.`,
    "Then press Try again.",
  ],
  firefox: (what) => [
    `Press the crossed-out ${what} in the address bar.`,
    "Remove “Blocked”.",
    "Then press Try again and allow it.",
  ],
  safari: (what) => [
    "Open the Safari menu, then Settings for This Website.",
    `Set ${what} to Allow.`,
    "Then press Try again.",
  ],
  "safari-ios": (what) => [
    "Tap the icon at the left end of the address bar, then Website Settings.",
    `Set ${what} to Allow.`,
    "Then press Try again.",
  ],
  other: (what) => [`Open this site's permissions beside the address bar.`, `Allow ${what}.`, "Then press Try again."],
};

const SYSTEM = "If it is allowed already, your computer may block it: look under Privacy in the system settings.";

/** `{title, why, steps, hint}` for a microphone state, or null when nothing is the matter. */
export function microphoneHelp(state, browser = browserName()) {
  switch (state) {
    case "refused":
      return {
        title: "The microphone is blocked",
        why: "This browser does not let the page use your microphone, so nobody can hear you.",
        steps: ALLOW[browser]("Microphone"),
        hint: SYSTEM,
      };
    case "missing":
      return {
        title: "No microphone was found",
        why: "Nobody can hear you.",
        steps: ["Plug in a microphone or headset, or switch it on.", "Then press Try again."],
        hint: "",
      };
    case "busy":
      return {
        title: "The microphone is in use",
        why: "Another program, or another tab, holds it.",
        steps: ["Close other calls and recorders.", "Then press Try again."],
        hint: SYSTEM,
      };
    case "silent":
      return {
        title: "Your microphone is silent",
        why: "It is on, but no sound at all comes from it.",
        steps: ["Look for a mute switch on the microphone or headset.", "Or choose another microphone under Devices."],
        hint: "",
      };
    case "unsupported":
      return {
        title: "This browser cannot make calls here",
        why: "Calls need a current browser and a secure address (https).",
        steps: ["Open this page in a current Chrome, Edge, Firefox or Safari."],
        hint: "",
      };
    default:
      return null;
  }
}

/** The same for the camera; it never stops a call. */
export function cameraHelp(state, browser = browserName()) {
  switch (state) {
    case "refused":
      return {
        title: "The camera is blocked",
        why: "You can go on without a picture.",
        steps: ALLOW[browser]("Camera"),
        hint: "",
      };
    case "missing":
      return { title: "No camera was found", why: "You can go on without a picture.", steps: [], hint: "" };
    case "busy":
      return {
        title: "The camera is in use by another program",
        why: "You can go on without a picture.",
        steps: ["Close the other program, then switch the camera on again."],
        hint: "",
      };
    default:
      return null;
  }
}
