"""What a job tells while it is done, for those who follow the job."""

from collections.abc import AsyncGenerator

from app.background.job import Progress
from app.models.base import Segment
from app.replay import Replay

News = Segment | Progress


class Live:
    """Keeps the segments of a job so far, each once, however often the work is begun again. For the
    event loop's thread."""

    def __init__(self) -> None:
        self._news: Replay[News] = Replay()
        self._told = self._again = 0

    def begin(self) -> None:
        """The work begins again: what was told is not told twice."""
        self._again = 0

    def segment(self, segment: Segment) -> None:
        """Tell the next segment."""
        self._again += 1
        if self._again > self._told:
            self._told = self._again
            self._news.add(segment)

    def progress(self, progress: Progress) -> None:
        self._news.add(progress)

    def close(self) -> None:
        """The job is over, or gone."""
        self._news.close()

    def follow(self) -> AsyncGenerator[News]:
        """Yield what was told so far, then what is told, until the job is over."""
        return self._news.follow()
