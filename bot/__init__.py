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

__version__ = "0.1.0"
