/** Loudness of sound in this browser, by WebAudio. Nothing is recorded: an analyser gives numbers and keeps none. */

let context = null;

/** The page's audio context. It may be asleep until the person has touched the page. */
export function audioContext() {
  if (!context) {
    context = new AudioContext({ latencyHint: "interactive" });
    const wake = () => context.state === "suspended" && context.resume().catch(() => {});
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, wake, { passive: true });
    wake();
  }
  return context;
}

/** Measures one track. {@link read} gives its peak in dBFS, or null while the context sleeps. */
export class LevelReader {
  #source;
  #analyser;
  #samples;

  constructor(track) {
    const audio = audioContext();
    this.#source = audio.createMediaStreamSource(new MediaStream([track]));
    this.#analyser = audio.createAnalyser();
    this.#analyser.fftSize = 2048;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source.connect(this.#analyser);
  }

  /** Peak of the last 43 ms or so, in dBFS; -120 is digital silence. */
  read() {
    if (audioContext().state !== "running") return null;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let peak = 0;
    for (const sample of this.#samples) peak = Math.max(peak, Math.abs(sample));
    return peak > 1e-6 ? 20 * Math.log10(peak) : -120;
  }

  /** Stop measuring. */
  close() {
    this.#source.disconnect();
  }
}

/** 0 to 1 for a meter, from a peak in dBFS: speech fills about two thirds. */
export function meterShare(dbfs) {
  if (dbfs === null || dbfs === undefined) return 0;
  return Math.min(1, Math.max(0, (dbfs + 60) / 60));
}

/** Play two short, soft notes through `sinkId` (empty: the default). Resolves when they are over. */
export async function playTestSound(sinkId) {
  const audio = new AudioContext();
  try {
    if (sinkId && audio.setSinkId) await audio.setSinkId(sinkId);
    await audio.resume();
    for (const [index, frequency] of [523.25, 659.25].entries()) {
      const tone = new OscillatorNode(audio, { frequency });
      const gain = new GainNode(audio, { gain: 0 });
      const at = audio.currentTime + 0.05 + index * 0.35;
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(0.25, at + 0.03);
      gain.gain.exponentialRampToValueAtTime(0.001, at + 0.5);
      tone.connect(gain).connect(audio.destination);
      tone.start(at);
      tone.stop(at + 0.55);
    }
    await new Promise((resolve) => setTimeout(resolve, 1_100));
  } finally {
    await audio.close();
  }
}
