"""One run on one host: look, judge, and for `apply` change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from . import engine, profiles, waiting
from .changes import journal
from .errors import Blocked, Unsupported
from .facts import system
from .facts.gather import gather
from .host.live import LiveHost
from .model import Change, Environment, Facts, Profile, Settings
from .progress import Progress

KEPT_ELSEWHERE = f"move {journal.JOURNAL} to another place and keep it: it tells what was done; then run again"


class Session:
    """One run: the host, what is asked for, and the profile that fits."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self.settings, self.progress = settings, progress
        self.host = LiveHost(settings.root or "/", progress)
        self.looked = False  # what would be said of the journal counts before the first change alone
        self.release = system.identify(self.host)
        table = profiles.load(profiles.standard_places(self.host, self.settings.profiles))
        self.profile: Profile = profiles.select(table, self.release, self.settings.profile, self.host.which)

    def look(self) -> Facts:
        """The facts as they are now."""
        found = gather(self.host, self.profile, self.settings, self.release)
        if found.environment is Environment.CONTAINER:
            mark = system.container_mark(self.host) or "/run/systemd/system is missing, and process 1 is not init"
            raise Unsupported(
                f"a container, or a system without an init ({mark}): the kernel's audit belongs to the host outside",
                "run it on that host; to prepare an image, name the tree: --root /",
            )
        seen = engine.asked(self.host, found, self.profile, self.settings)
        why = journal.unfit(self.host) if seen.privileged and not self.looked else ""
        self.looked = True
        if why and any(finding.changes for finding in engine.plan(seen, self.profile, self.settings)):
            raise Blocked(f"{why}; what is done here could not be taken back", KEPT_ELSEWHERE)
        return seen

    def look_and_probe(self, waits: bool = False) -> Facts:
        """The facts, of an agent that has started if it is waited for, and what became of a test event if asked for."""
        found = self.look()
        if waits:
            found = waiting.until_started(self.look, found, self.settings, self.host.waits)
            self.progress.over()
        if self.settings.probe:
            from .probe import probe

            found = found._replace(delivery=probe(self.host, found, self.settings))
        return found

    def check(self, waits: bool = False) -> engine.Outcome:
        """What is found; nothing is changed."""
        found = self.look_and_probe(waits)
        return engine.Outcome(engine.plan(found, self.profile, self.settings), found)

    def converge(self) -> engine.Outcome:
        """What came of the changes; with the lock in hand."""
        outcome = engine.converge(self.host, self.look, self.profile, self.settings, self._step, self.host.waits)
        self.progress.over()
        if not self.settings.probe or outcome.error:
            return outcome
        found = self.look_and_probe()
        return outcome.probed(found, engine.plan(found, self.profile, self.settings))

    @contextlib.contextmanager
    def _step(self, requirement: str, change: Change) -> Iterator[None]:
        """What a change is made inside of: it is logged and shown, with its end."""
        what, begun = change.describe(), time.monotonic()
        self.host.log(f"{requirement}: {what}")
        with self.progress.step(requirement, what):
            yield
        self.host.log(f"{requirement}: done in {time.monotonic() - begun:.1f} s")
