"""Whisper by faster-whisper and CTranslate2: the one module that imports them.

Windows are padded to ``max(12 s, length + 1 s)`` instead of Whisper's 30 s, with timestamp tokens on and the output
capped by the window's length: half the cost for nearly the same words. A decode that repeats itself or runs into its
cap is thrown away and made again at 30 s.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np

from bot.asr.engine import AsrEngine, Recognition
from bot.asr.models import ModelFiles
from bot.events import SAMPLE_RATE_HZ, Pcm, Word

WORD = re.compile(r"\w+")
HOP = 160
"""Samples of one feature frame: 10 ms."""
PAD_S = 12.0
"""Over 30 lane-minutes of three real calls word errors were 26.4, 24.7 and 22.9 % for windows padded to 8, 10 and 12 s,
21.8 % for a whole-file pass; 16 s did no better than 12."""
PAD_BEYOND_S = 1.0
FULL_S = 30.0
TOKENS_PER_S = 7
TOKENS_BASE = 8
"""Longest output: fast speech has four words a second, and each stretch two timestamp tokens."""
TOKENS_MAX = 448
MAX_COMPRESSION = 2.4
"""The library's own threshold for text that repeats itself."""
TEMPERATURES = (0.0, 0.2, 0.4, 0.6)
"""Of the second decode: tried in turn until one does not repeat itself."""


@dataclass(frozen=True, slots=True)
class _Decode:
    encoded: Any
    tokens: list[int]
    text: str
    log_probability: float
    no_speech: float
    compression: float
    capped: bool

    @property
    def failed(self) -> bool:
        return self.capped or self.compression > MAX_COMPRESSION or repeats_itself(self.text)


def repeats_itself(text: str) -> bool:
    """True when a phrase stands several times in a row: one word four times, a longer phrase up to six words or twice.

    People do repeat themselves; the second decode, at full length, has the last word.
    """
    words = WORD.findall(text.lower())
    for size in range(1, len(words) // 2 + 1):
        times = 4 if size == 1 else max(2, -(-6 // size))
        for start in range(len(words) - size * times + 1):
            if words[start : start + size] * times == words[start : start + size * times]:
                return True
    return False


class WhisperEngine(AsrEngine):
    """A loaded model."""

    def __init__(self, model: Any, name: str) -> None:
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        self._model = model
        self._name = name
        self._new_tokenizer: Any = lambda language: Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language
        )
        self._tokenizers: dict[str, Any] = {}
        suppress: Any = get_suppressed_tokens
        self._suppressed = list(suppress(self._tokenizer("en"), [-1]))

    @property
    def name(self) -> str:
        """Name of the loaded model."""
        return self._name

    def _tokenizer(self, language: str) -> Any:
        code = language.split("-")[0]
        if code not in self._tokenizers:
            self._tokenizers[code] = self._new_tokenizer(code)
        return self._tokenizers[code]

    def recognise(self, pcm: Pcm, *, language: str, word_times: bool) -> Recognition:
        """Recognise one window of mono 16 kHz samples."""
        tokenizer = self._tokenizer(language)
        length_s = len(pcm) / SAMPLE_RATE_HZ
        decode = self._decode(pcm, max(PAD_S, length_s + PAD_BEYOND_S), tokenizer, 0.0)
        retried = decode.failed
        if retried:
            decode = self._decode_again(pcm, tokenizer)
        words = self._words(decode, pcm, tokenizer) if word_times and decode.text else ()
        return Recognition(
            text=decode.text,
            words=words,
            confidence=min(1.0, exp(decode.log_probability)),
            no_speech_prob=decode.no_speech,
            compression_ratio=decode.compression,
            language=language,
            retried=retried,
        )

    def _decode_again(self, pcm: Pcm, tokenizer: Any) -> _Decode:
        best: _Decode | None = None
        for temperature in TEMPERATURES:
            decode = self._decode(pcm, FULL_S, tokenizer, temperature)
            if not decode.failed:
                return decode
            if best is None or decode.compression < best.compression:
                best = decode
        assert best is not None
        return best

    def _decode(self, pcm: Pcm, padded_s: float, tokenizer: Any, temperature: float) -> _Decode:
        encoded = self._model.encode(self._features(pcm, padded_s))
        prompt = list(tokenizer.sot_sequence)
        cap = min(TOKENS_MAX, len(prompt) + TOKENS_BASE + int(len(pcm) / SAMPLE_RATE_HZ * TOKENS_PER_S))
        sampling = {} if temperature == 0 else {"sampling_topk": 0, "sampling_temperature": temperature}
        result = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=cap,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **sampling,
        )[0]
        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens).strip()
        raw = text.encode()
        return _Decode(
            encoded=encoded,
            tokens=tokens,
            text=text,
            log_probability=result.scores[0] * len(tokens) / (len(tokens) + 1),
            no_speech=result.no_speech_prob,
            compression=len(raw) / len(zlib.compress(raw)) if raw else 0.0,
            capped=len(tokens) >= cap - len(prompt),
        )

    def _features(self, pcm: Pcm, padded_s: float) -> Any:
        frames = int(padded_s * SAMPLE_RATE_HZ) // HOP
        features = self._model.feature_extractor(pcm.astype(np.float32) / 32768, padding=HOP)[:, :frames]
        return np.pad(features, ((0, 0), (0, frames - features.shape[1])))

    def _words(self, decode: _Decode, pcm: Pcm, tokenizer: Any) -> tuple[Word, ...]:
        """Word times by the model's own alignment of its text to the sound."""
        tokens = [token for token in decode.tokens if token < tokenizer.eot]
        if not tokens:
            return ()
        aligned = self._model.model.align(
            decode.encoded, tokenizer.sot_sequence, [tokens], max(1, len(pcm) // HOP), median_filter_width=7
        )[0]
        starts: dict[int, int] = {}
        for token, frame in aligned.alignments:
            starts.setdefault(token, frame)
        texts, groups = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
        words, position, end_frame = [], 0, len(pcm) // (2 * HOP)
        for text, group in zip(texts[:-1], groups[:-1], strict=True):
            following = position + len(group)
            probabilities = aligned.text_token_probs[position:following]
            start = starts.get(position, 0) * 20
            end = starts.get(following, end_frame) * 20
            probability = float(np.mean(probabilities)) if len(probabilities) else 0.0
            words.append(Word(text.strip(), start, max(start, end), probability))
            position = following
        return tuple(words)


def load(files: ModelFiles, *, device: str, compute_type: str, threads: int) -> AsrEngine:
    """Load the weights. Takes a second or two and blocks."""
    from faster_whisper import WhisperModel

    model = WhisperModel(str(files.path), device=device, compute_type=compute_type, cpu_threads=threads)
    return WhisperEngine(model, files.name)
