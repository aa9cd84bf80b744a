"""What a line of a batch asks, and its result: the same form and the same answer as elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Histogram

from app.api.answers import content_of, layout_of
from app.api.context import Context
from app.api.forms import TranscriptionForm
from app.api.options import background_options
from app.api.parsing import form_fields, parse
from app.background import Ask
from app.errors import BadField
from app.metrics import ModelMetrics
from app.transcription.results import Transcript
from app.transcription.session import Caller, TranscriptionSession


@dataclass
class _Unobserved:
    """Telemetry of a request that there is none of."""

    begun: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def observe(self, stage: str, seconds: float, histogram: Histogram) -> None:
        pass

    def record_transcribed(
        self, audio_seconds: float, seconds: float, metrics: ModelMetrics
    ) -> None:
        pass


class BatchReader:
    """Implements app.background.batch_work.Reader."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def ask(self, owner: str, body: Mapping[str, Any]) -> Ask:
        """Return what a body asks. Raises BadField, UnknownModel, and NotReady while nobody can
        say what the model knows."""
        fields = tuple(form_fields(body))
        form = parse(TranscriptionForm, fields)
        if form.stream or form.background or form.webhook_url:
            raise BadField("A batch takes no stream, background or webhook_url.", param="stream")
        slot = self._context.state.slot(form.model)
        shared = self._context.transcriptions
        caller = Caller(owner or "batch")
        session = TranscriptionSession(shared, slot, slot.known(), caller, _Unobserved())
        return Ask(owner, slot.name, background_options(session, form), fields)

    def rendered(self, ask: Ask, transcript: Transcript) -> Any:
        """Return a result in the format that its line asked for; a text where that is none of
        JSON."""
        form = parse(TranscriptionForm, ask.fields)
        return content_of(form, transcript, layout_of(form, self._context.settings))
