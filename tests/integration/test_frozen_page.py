"""A clinician's page that stands still: its connection is there, and nothing comes by it any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.demo.peer import Peer
from tests.integration.call_world import CLIENT, CLINICIAN, two_people, world

LATE_MS = 30_000
"""Far more than the ten seconds after which somebody is missed: a busy machine is no fault."""
FREEZES_MS = 2_000
"""Far less than it takes to miss a page that has just answered."""


def freeze(peer: Peer) -> None:
    """Nothing is read any more, so that no ping is answered; the connection stays, as when a process is stopped."""
    assert peer._socket is not None
    peer._socket.transport.pause_reading()


def thaw(peer: Peer) -> None:
    """It finds that it was given up long ago."""
    assert peer._socket is not None
    peer._socket.transport.abort()


@pytest.mark.soak
async def test_a_page_that_answers_no_ping_is_gone_and_recording_pauses_until_it_is_back(tmp_path: Path) -> None:
    async with world(tmp_path) as place:
        recordings = {CLINICIAN: place.cut(CLINICIAN, (600, 3_200)), CLIENT: place.cut(CLIENT, (4_000, 12_700))}
        async with two_people(place, recordings) as call:
            await call.begin()
            call.play()
            client = call.client
            await client.control("status")
            frozen_ms = client.state["now_ms"]
            freeze(call.clinician)
            await client.until(lambda: client.state["capture"] == "paused", "the clinician to be missed", 60)
            assert client.state["pause_reasons"] == ["clinician_absent"], "and the client is told why"
            since_ms = client.state["since_ms"]
            assert FREEZES_MS < since_ms - frozen_ms < LATE_MS
            assert [m["present"] for m in client.roster["members"] if m["participant_id"] == CLINICIAN] == [False]

            back = Peer(place.url, call.session_id, call.clinician._token, recording=recordings[CLINICIAN])
            try:
                await back.join()
                await client.until(lambda: client.state["capture"] == "capturing", "recording to go on", 30)
                gaps = (await place.get(f"/v1/sessions/{call.session_id}/transcript"))["gaps"]
                [gap] = [one for one in gaps if one["reason"] == "paused"]
                assert (gap["pause_reasons"], gap["start_ms"]) == (["clinician_absent"], since_ms)
                assert 0 < gap["end_ms"] - since_ms < LATE_MS
                await back.control("discard")
            finally:
                await back.leave()
                thaw(call.clinician)
            await place.until(call.session_id, "audio", "erased")
        events = await place.service.services.store.events(call.session_id)
        changes = [(e.kind, e.data["by"]) for e in events if e.kind in {"capture.paused", "capture.resumed"}]
        assert changes == [("capture.paused", "system"), ("capture.resumed", "system")], "once each, and by itself"
