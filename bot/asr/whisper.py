"""Whisper by CTranslate2: the one adapter for faster_whisper and ctranslate2, imported when a model is loaded.

Whisper was made for 30 s of sound and pads everything to that. Here a window is padded only to :data:`SHORT_PAD_S`, a
quarter of the work; what goes wrong with that (text that repeats itself until the length cap) shows in the decode
itself, and then the window is decoded again in the form the model knows.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bot.asr.engine import Recognition
from bot.asr.models import ModelFiles, language_code, read_checked
from bot.asr.wordtimes import TimedToken, words_of
from bot.errors import ModelUnusable
from bot.events import SAMPLE_RATE_HZ, Pcm

SHORT_PAD_S = 16.0
"""Final windows are padded at least to this. Measured with tiny.en on 30 lane-minutes of real calls, 184 windows: 16 s
made as few word errors as the full 30 s for half the work; 12 s made 1 point more, 8 s 2 points and a second decode for
repetition in every fifth window."""
DRAFT_PAD_S = 8.0
"""Growing windows: a loop there costs one caption, not a word."""
MARGIN_S = 1.0
"""Silence that at least follows the sound."""
FULL_S = 30.0
FRAME_HOP = 160
"""Samples of one feature frame; the encoder takes two at a time."""
TIME_STEP_S = 0.02
"""One timestamp token."""
TOKENS_BASE, TOKENS_PER_S = 8, 6.0
"""Length cap of a decode: fast English has under 5 tokens a second; timestamps and the end need a few more."""
MAX_COMPRESSION = 2.0
MIN_MEAN_LOGPROB = -1.1
TEMPERATURES = (0.0, 0.4, 0.8)
"""Of the decodes at full length, tried in turn while the text repeats itself."""
SAMPLES_OF = 3
"""Hypotheses drawn at a temperature above zero; the most probable counts."""
MIN_SAMPLES = 2 * FRAME_HOP


@dataclass(slots=True)
class _Decode:
    tokens: list[int]
    text: str
    mean_logprob: float
    compression_ratio: float
    no_speech_prob: float
    capped: bool
    encoded: Any

    @property
    def repeats(self) -> bool:
        return self.capped or self.compression_ratio > MAX_COMPRESSION

    @property
    def good(self) -> bool:
        return not self.repeats and self.mean_logprob >= MIN_MEAN_LOGPROB


def load(files: ModelFiles, *, device: str = "cpu", compute_type: str = "int8", threads: int = 1) -> WhisperEngine:
    """Load checked weights. Raises :class:`ModelMissing`, :class:`ModelHashMismatch` or :class:`ModelUnusable`.

    The hash is taken of the very bytes that are loaded.
    """
    import faster_whisper

    check_device(files.name, device=device, compute_type=compute_type)
    content = read_checked(files)
    try:
        model = faster_whisper.WhisperModel(
            str(files.path), device=device, compute_type=compute_type, cpu_threads=threads, files=content
        )
    except (RuntimeError, ValueError) as error:
        raise ModelUnusable(files.name, device, compute_type, _first_line(error)) from None
    return WhisperEngine(files.name, model, files.languages)


def check_device(name: str, *, device: str, compute_type: str) -> None:
    """Raise :class:`ModelUnusable` unless this machine can compute so. Loads no weights."""
    import ctranslate2

    try:
        known = ctranslate2.get_supported_compute_types(device)
    except (RuntimeError, ValueError) as error:
        raise ModelUnusable(name, device, compute_type, _first_line(error)) from None
    if compute_type not in known:
        raise ModelUnusable(name, device, compute_type, f"it can do {', '.join(sorted(known)) or 'nothing'}")


def _first_line(error: Exception) -> str:
    """A library's own words on the machine; nothing was recognised yet, so that they hold nothing anybody said."""
    return next(iter(str(error).splitlines()), "").strip().rstrip(".")[:160] or type(error).__name__


def every_language() -> tuple[str, ...]:
    """Two-letter codes that any Whisper model may recognise."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return tuple(_LANGUAGE_CODES)


def download(repository: str, cache: Path) -> Path:
    """Fetch a model from the hub. Only called where the settings allow it."""
    import faster_whisper

    return Path(faster_whisper.download_model(repository, cache_dir=str(cache)))


class WhisperEngine:
    """A loaded model. Not for two threads at once."""

    def __init__(self, name: str, model: Any, languages: Sequence[str] = ()) -> None:
        self._name = name
        self._whisper = model
        self._model = model.model
        self._features = model.feature_extractor
        self.languages: tuple[str, ...] = tuple(languages or model.supported_languages)
        """Two-letter codes this model recognises."""
        self._tokenizers: dict[str, Any] = {}
        self._suppressed: list[int] = []

    @property
    def name(self) -> str:
        """Name of the loaded model."""
        return self._name

    def check_language(self, language: str) -> None:
        """Raise :class:`LanguageUnsupported` for a language tag that this model does not recognise."""
        self._code(language)

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        """Recognise one window. Without ``word_times`` (a growing window) there is one cheap try and no second."""
        code = self._code(language)
        if len(pcm) < MIN_SAMPLES:
            return Recognition("", (), 0.0, 1.0, 0.0, code)
        tokenizer = self._tokenizer(code)
        seconds = len(pcm) / SAMPLE_RATE_HZ
        features = self._spectrum(pcm)
        pad_s = SHORT_PAD_S if word_times else DRAFT_PAD_S
        decode = self._decode(features, tokenizer, seconds, min(FULL_S, max(pad_s, seconds + MARGIN_S)))
        retried = word_times and not decode.good
        if retried:
            decode = self._again(features, tokenizer, seconds, decode)
        spoken = list(_within(decode.tokens, tokenizer, seconds))
        words = self._align(spoken, tokenizer, decode.encoded, seconds) if word_times and spoken else []
        return Recognition(
            text=tokenizer.decode(spoken).strip(),
            words=words_of(words, seconds),
            confidence=min(1.0, math.exp(decode.mean_logprob)) if spoken else 0.0,
            no_speech_prob=decode.no_speech_prob,
            compression_ratio=decode.compression_ratio,
            language=code,
            retried=retried,
            open_ended=min(decode.tokens[-2:], default=0) >= tokenizer.timestamp_begin and len(decode.tokens) > 1,
        )

    # -- decoding ------------------------------------------------------------------------------------------------------

    def _again(self, features: npt.NDArray[np.float32], tokenizer: Any, seconds: float, first: _Decode) -> _Decode:
        """Decode as the model was trained to: 30 s, and if the text still repeats itself, by drawing."""
        tried = []
        encoded = None
        for temperature in TEMPERATURES:
            again = self._decode(features, tokenizer, seconds, FULL_S, temperature, encoded)
            encoded = again.encoded
            tried.append(again)
            if not again.repeats:
                return again
        return max(
            [*tried, first], key=lambda d: (d.compression_ratio <= MAX_COMPRESSION, not d.capped, d.mean_logprob)
        )

    def _decode(
        self,
        features: npt.NDArray[np.float32],
        tokenizer: Any,
        seconds: float,
        pad_s: float,
        temperature: float = 0.0,
        encoded: Any = None,
    ) -> _Decode:
        if encoded is None:
            frames = int(pad_s * SAMPLE_RATE_HZ) // FRAME_HOP // 2 * 2
            padded = np.zeros((features.shape[0], frames), np.float32)
            width = min(frames, features.shape[1])
            padded[:, :width] = features[:, :width]
            encoded = self._whisper.encode(padded)
        cap = int(TOKENS_BASE + TOKENS_PER_S * seconds)
        drawing: dict[str, Any] = {"beam_size": 1}
        if temperature > 0:
            drawing |= {"num_hypotheses": SAMPLES_OF, "sampling_topk": 0, "sampling_temperature": temperature}
        result = self._model.generate(
            encoded,
            [tokenizer.sot_sequence],
            max_length=min(448, 2 * cap),  # ctranslate2 generates at most half of what it is given here
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **drawing,
        )[0]
        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens).strip()
        return _Decode(
            tokens=tokens,
            text=text,
            # the score is a mean over the tokens; the sentence's end was one more choice
            mean_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),
            compression_ratio=_compression_ratio(text),
            no_speech_prob=result.no_speech_prob,
            capped=len(tokens) >= min(224, cap),
            encoded=encoded,
        )

    def _align(self, tokens: list[int], tokenizer: Any, encoded: Any, seconds: float) -> list[TimedToken]:
        frames = max(2, int(seconds * SAMPLE_RATE_HZ) // FRAME_HOP)
        result = self._model.align(encoded, tokenizer.sot_sequence, [tokens], frames, median_filter_width=7)[0]
        at: dict[int, float] = {}
        for token, frame in result.alignments:
            at.setdefault(token, frame * TIME_STEP_S)
        texts, groups = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
        timed: list[TimedToken] = []
        first = 0
        for text, group in zip(texts[:-1], groups[:-1], strict=True):
            after = first + len(group)
            start = at.get(first, timed[-1].end_s if timed else 0.0)
            timed.append(
                TimedToken(text, start, at.get(after, seconds), float(np.mean(result.text_token_probs[first:after])))
            )
            first = after
        return timed

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _spectrum(self, pcm: Pcm) -> npt.NDArray[np.float32]:
        spectrum: npt.NDArray[np.float32] = self._features(pcm.astype(np.float32) / 32768.0)
        return spectrum

    def _code(self, language: str) -> str:
        """The model's code of a language tag. Raises :class:`LanguageUnsupported`: it would hear another language."""
        return language_code(self._name, self.languages, language)

    def _tokenizer(self, code: str) -> Any:
        tokenizer = self._tokenizers.get(code)
        if tokenizer is None:
            from faster_whisper.tokenizer import Tokenizer

            tokenizer = Tokenizer(
                self._whisper.hf_tokenizer, self._model.is_multilingual, task="transcribe", language=code
            )
            self._tokenizers[code] = tokenizer
            self._suppressed = sorted(
                {
                    *tokenizer.non_speech_tokens,
                    *(tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev),
                    *(tokenizer.sot_lm, tokenizer.no_speech),
                }
            )
        return tokenizer


def _within(tokens: Sequence[int], tokenizer: Any, seconds: float) -> Iterator[int]:
    """The text tokens of what was said inside the window: what is dated after its end was made up in the padding."""
    start_s = 0.0
    for token in tokens:
        if token >= tokenizer.timestamp_begin:
            start_s = (token - tokenizer.timestamp_begin) * TIME_STEP_S
        elif token < tokenizer.eot and (start_s == 0.0 or start_s < seconds - 0.1):
            yield token


def _compression_ratio(text: str) -> float:
    content = text.encode()
    return len(content) / len(zlib.compress(content)) if content else 0.0
