"""Quietnote: a session scribe for telehealth calls.

The path of a sound, one line a hop, with no way back:

    1 media/    a room gives a lane per participant; the lane's gate decides: captured, paused, withheld, silent
    2 media/    Silero VAD cuts the captured lane into speech windows
    3 asr/      a window becomes words: partial captions while it grows, one immutable final when it ends
    4 asr/      finals of all lanes become one transcript on the call's clock
    5 notes/    the transcript becomes a draft note whose every sentence cites its evidence
    6 notes/    the draft is delivered: the Notes inbox, and a signed webhook
    7 store/    the audio was destroyed when its words were safe; the transcript goes at signing or on day 7

``control/`` is the outside of the house (HTTP, in-call messages, pages), ``store/`` the ground it stands on,
``app.py`` the one place where the parts meet.
"""

import os

__version__ = "0.1.0"

# Libraries that would tell their makers of their use: read when they are imported, so said before any of them is.
# onnxruntime otherwise keeps a device id in the home folder and reports to a collector.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
