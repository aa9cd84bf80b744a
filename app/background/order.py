"""Which job is next: nobody's archive keeps somebody else's recording waiting."""

from collections import Counter
from collections.abc import Iterable

from app.background.job import Status, TranscriptionJob


class Order:
    """Gives clients their turns, and each client's jobs in the order in which they came."""

    def __init__(self) -> None:
        self._turns: Counter[str] = Counter()  # when each client's last job was begun
        self._clock = 0

    def next(self, jobs: Iterable[TranscriptionJob]) -> TranscriptionJob | None:
        """Return the job that is begun next: of the client with the fewest under way, then of the
        one whose last turn is longest ago."""
        several = list(jobs)
        running = Counter(one.ask.owner for one in several if one.status is Status.IN_PROGRESS)
        waiting = [one for one in several if one.status is Status.QUEUED]

        def rank(job: TranscriptionJob) -> tuple[int, int]:
            return running[job.ask.owner], self._turns[job.ask.owner]

        job = min(waiting, key=rank, default=None)
        if job:
            self._clock += 1
            self._turns[job.ask.owner] = self._clock
        return job
