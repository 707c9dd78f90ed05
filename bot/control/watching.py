"""Time passes in a session: who is there, what is wrong, and when it ends by itself, looked at and carried out."""

from __future__ import annotations

from collections.abc import Awaitable

from bot.control import leaving, watch
from bot.control.capture import Actor, ActorKind, hold, lift
from bot.control.conduct import Conduct
from bot.control.faults import LaneLook
from bot.control.keeping import warning_of
from bot.control.leaving import Elapsed
from bot.control.watch import UNDER_WAY, Verdict
from bot.errors import QuietnoteError
from bot.events import EndReason, GateState


class Watching(Conduct):
    """A session that is watched, several times a second while the bot is in it."""

    async def _watch_presence(self) -> None:
        """Carry out what :mod:`bot.control.watch` says."""
        await self._or_warn(self._catch_up())  # what cannot be recorded keeps nobody's absence from being seen
        verdict = self._verdict()
        system = Actor(ActorKind.SYSTEM, self.record.clinic_id)
        if isinstance(verdict, EndReason):
            await self.end(system, verdict, still=lambda: self._verdict() is verdict)
            return
        if verdict == watch.STAY:
            return
        async with self._lock:
            verdict = self._verdict()  # somebody may have done something meanwhile
            if isinstance(verdict, EndReason) or verdict == watch.STAY:
                return
            after = self.view
            for reason in verdict.hold:
                after = hold(after, reason)
            for reason in verdict.lift:
                after = lift(after, reason, consented=self._consented())
            await self._move(after, self._now_sample(), system)
        await self._tell_state()

    async def _or_warn(self, work: Awaitable[None]) -> None:
        """What fails now is tried again at the next look; time goes on."""
        try:
            await work
        except QuietnoteError as error:
            self._on_fault(warning_of(error))

    def _verdict(self) -> Verdict | EndReason:
        now_s = self._clock.monotonic_s()
        return watch.judge(self.view, self.lobby, self.config.capture, self._elapsed(), now_s=now_s)

    def _elapsed(self) -> Elapsed:
        started, captured_from = self.record.call_started_at, self.record.captured_from
        captured_s = 0.0
        if self._began_ms is not None:
            captured_s = max(0.0, (self.now_ms() - self._began_ms) / 1000)
        elif started is not None and captured_from is not None:
            captured_s = max(0.0, self.now_ms() / 1000 - (captured_from - started).total_seconds())
        dogs = self.watchdogs
        now_s = self._clock.monotonic_s()
        return Elapsed(
            captured_s,
            quiet_s=dogs.quiet_s(now_s) if dogs is not None else 0.0,
            asked_s=now_s - self._asked_s if self._asked_s is not None else 0.0,
        )

    def _watch_faults(self) -> None:
        """Tell what is wrong with the sound, and of an end that is near."""
        media, dogs = self.media, self.watchdogs
        if media is None or dogs is None or self.view.state not in UNDER_WAY:
            self._stand(())
            return
        now_s, machines, seats = self._clock.monotonic_s(), self._services.media, self.lobby.seats
        gates, levels, absent = self._gates(self.view), media.levels(), media.hearing.absent()
        looks = {
            who: LaneLook(
                gates.get(who, GateState.OFF),
                ledger.speech,
                levels[who]["rms_dbfs"] if who in levels else None,
                muted=who in seats and seats[who].muted,
                absent=who in absent,
            )
            for who, ledger in media.ledgers().items()
        }
        found = dogs.look(looks, now_s=now_s, decode_s=machines.scheduler.decode_s, media_s=machines.worker.running_s)
        near = leaving.told_before(self.view.state, seats.values(), self.config.capture, self._elapsed(), now_s=now_s)
        self._stand(found | {(slug, None) for slug in near})
