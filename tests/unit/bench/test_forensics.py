"""The forensic search finds what it is meant to find, in every form and at every place, and nothing else."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bot.bench.forensics import OVERLAP, STRETCH, Search, control, planted, said_in, search
from bot.bench.needles import PACKET_STEP, PIECE, RUN, Kind, Needles, phrases
from bot.bench.witness import Witness
from bot.events import Pcm

RATE = 16_000


def speech(samples: int, seed: int = 1) -> Pcm:
    rng = np.random.default_rng(seed)
    swell = 1000 * (1.1 + np.sin(np.arange(samples) / 4000))
    return (rng.normal(0, 1, samples) * swell).astype(np.int16)


@pytest.fixture(scope="module")
def pcm() -> Pcm:
    return speech(5 * RATE)


@pytest.fixture(scope="module")
def looking(pcm: Pcm) -> Search:
    needles = Needles()
    needles.sound(pcm)
    return Search(needles)


def test_the_positive_control_finds_each_form_in_each_place(pcm: Pcm) -> None:
    key, packet, word = os.urandom(32), os.urandom(70), 'Ödland "quoted" lighthouse'
    needles = Needles()
    needles.sound(pcm)
    needles.key(key)
    needles.packet(packet)
    needles.word(word)
    assert control(needles, pcm[12_345:], packet[5 : 5 + PIECE + PACKET_STEP - 1], key, word) == []
    forms = planted(pcm, packet, key, word)
    assert {name.split(":")[0] for name in forms} == {"audio", "key", "word"}
    assert len(forms) == 2 * (4 + 9 + 8)


def test_the_control_says_what_was_not_found(pcm: Pcm) -> None:
    assert len(control(Needles(), pcm, bytes(80), os.urandom(32), "lighthouse")) == 2 * (4 + 9 + 8)


@pytest.mark.parametrize("kind", ["<i2", ">i2", "<f4"])
def test_two_milliseconds_are_found_wherever_they_begin(pcm: Pcm, looking: Search, kind: str) -> None:
    scaled = pcm / np.float32(32768) if kind == "<f4" else pcm
    for at in range(40_000, 40_040):
        run = scaled[at : at + RUN].astype(kind).tobytes()
        for before in range(4):
            assert looking.text(bytes(before) + run), (at, before)
    assert not looking.text(scaled[7 : 7 + RUN // 2 - 1].astype(kind).tobytes())


def test_what_is_not_of_this_sound_is_not_found(looking: Search) -> None:
    assert not looking.text(speech(5 * RATE, seed=2).tobytes())
    assert not looking.text(bytes(1 << 20))
    assert not looking.text(np.random.default_rng(3).bytes(1 << 20))


def test_silence_is_not_looked_for(tmp_path: Path) -> None:
    needles = Needles()
    for quiet in (np.zeros(RATE, np.int16), np.full(RATE, 4000, np.int16), (speech(RATE) % 5).astype(np.int16)):
        needles.sound(quiet)
    assert not len(needles.hashes(Kind.AUDIO))
    (tmp_path / "zeros").write_bytes(bytes(1 << 16))
    assert search(needles, tmp_path).clean


def test_each_hit_is_told_once_with_its_place(tmp_path: Path) -> None:
    needles = Needles()
    needles.word("lighthouse")
    for at in (0, 5, STRETCH - 4, STRETCH, STRETCH + OVERLAP - 3):
        path = tmp_path / "file"
        content = bytearray(STRETCH + 2 * OVERLAP)
        content[at : at + 10] = b"LightHouse"
        path.write_bytes(content)
        report = search(needles, tmp_path)
        assert [(hit.file, hit.at, hit.kind, hit.form) for hit in report.hits] == [(str(path), at, "word", "utf-8")]
        assert (report.total, report.clean, report.files, report.bytes) == (1, False, 1, STRETCH + 2 * OVERLAP)


@pytest.mark.parametrize("shift", range(3))
def test_words_and_keys_within_base64_of_something_longer(tmp_path: Path, shift: int) -> None:
    key = os.urandom(32)
    needles = Needles()
    needles.key(key)
    needles.word("lighthouse")
    whole = json.dumps({"text": "x" * shift + "the lighthouse keeper"}).encode()
    (tmp_path / "pickled").write_bytes(base64.b64encode(whole))
    (tmp_path / "key").write_bytes(b'{"k":"' + base64.urlsafe_b64encode(bytes(shift) + key + b"more") + b'"}')
    kinds = {Path(hit.file).name: hit.kind for hit in search(needles, tmp_path).hits}
    assert kinds == {"pickled": Kind.WORD, "key": Kind.KEY}


def test_a_file_that_cannot_be_read_is_no_clean_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").write_bytes(b"something")
    real = Path.open

    def refuse(self: Path, *args: object, **named: object) -> object:
        if self.name == "locked":
            raise PermissionError
        return real(self, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    report = search(Needles(), tmp_path)
    assert not report.clean
    assert report.unreadable == [str(tmp_path / "locked")]


def test_files_of_any_size_are_looked_at(tmp_path: Path) -> None:
    needles = Needles()
    needles.key(bytes(range(32)))
    needles.word("needle")
    for size in range(70):
        (tmp_path / "small").write_bytes(b"x" * size)
        assert search(needles, tmp_path).clean
        (tmp_path / "small").write_bytes(b"x" * size + b"needle")
        assert not search(needles, tmp_path).clean
        (tmp_path / "small").write_bytes(b"x" * size + bytes(range(32)))
        assert not search(needles, tmp_path).clean


def test_words_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("nothing here")
    (tmp_path / "b").write_bytes("ein NEEDLE darin".encode("utf-16-le"))
    assert said_in(tmp_path, "needle") == [str(tmp_path / "b")]
    assert said_in([tmp_path / "a"], "needle") == []
    with pytest.raises(ValueError, match="too short"):
        said_in(tmp_path, "no")


def test_phrases_are_runs_of_words_that_nobody_else_writes() -> None:
    assert phrases(["The client is well today", "is it so"]) == {"client is well"}


def test_a_witness_reads_on_what_another_process_noted(tmp_path: Path) -> None:
    pcm, key, packet = speech(3 * RATE), os.urandom(32), os.urandom(64)
    first = Witness(tmp_path / "noted")
    for at in range(0, len(pcm), 960):
        first.sound(7, at, pcm[at : at + 960])
    first.key(key)
    first.packet(packet)
    first.text("she dreams of the lighthouse again")
    first.close()
    whole = (tmp_path / "noted").read_bytes()
    (tmp_path / "noted").write_bytes(whole + whole[:20])  # killed in the middle of a note
    second = Witness()
    second.read(tmp_path / "noted")
    needles = second.done()
    assert needles.taken == first.done().taken
    assert control(needles, pcm[2 * RATE - RUN // 2 :], packet, key, "of the lighthouse") == []
