"""What a request's form asks of the model that it is bound to."""

from dataclasses import replace

from app.api.answers import layout_of, wants_words
from app.api.forms import HintedTranslationForm, SpeechForm, TranscriptionForm
from app.errors import BadField
from app.languages import code_of, is_left_open, script_of
from app.models.base import Capabilities
from app.transcription.results import Options, vad_options
from app.transcription.session import TranscriptionSession


def options_of(session: TranscriptionSession, form: SpeechForm) -> Options:
    """What a form asks of the session's model. Raises BadField."""
    settings, asked = session.shared.settings, _asked_languages(form)
    param = "languages" if getattr(form, "languages", ()) else "language"
    codes = [_language(session.model.loaded.capabilities, name, param) for name in asked]
    common = Options(
        languages=tuple(dict.fromkeys(codes)),
        temperature=form.temperature,
        fallback=settings.temperature_fallback,
        prompt=form.prompt,
        track=form.audio_track,
        split_channels=form.channels == "split",
    )
    if not isinstance(form, TranscriptionForm):
        return replace(common, translate=True)
    strategy = form.chunking_strategy
    return replace(
        common,
        keywords=form.keywords,
        logprobs="logprobs" in form.include,
        words=_needs_words(session, form),
        vad=vad_options(settings, strategy.own) if strategy else None,
        script=next(filter(None, map(script_of, asked)), settings.chinese_script),
    )


def background_options(session: TranscriptionSession, form: TranscriptionForm) -> Options:
    """What a form asks for in the background: also words, wherever there are any, since the result
    may be asked for in any format later. Raises BadField."""
    options = options_of(session, form)
    return replace(options, words=session.model.loaded.capabilities.word_times)


def _asked_languages(form: SpeechForm) -> tuple[str, ...]:
    """The languages that may be spoken; none where the model is to find out."""
    asked: tuple[str, ...] = form.languages if isinstance(form, TranscriptionForm) else ()
    if isinstance(form, TranscriptionForm | HintedTranslationForm) and form.language:
        asked = (form.language,)
    return () if any(map(is_left_open, asked)) else asked


def _needs_words(session: TranscriptionSession, form: TranscriptionForm) -> bool:
    """Whether words are asked for, or subtitles show less than a segment at once. Raises
    BadField."""
    has_times = session.model.loaded.capabilities.word_times
    if wants_words(form) and not has_times:
        raise BadField(
            f"The model {session.slot.name!r} gives words no times: ask it for 'segment' alone.",
            param="timestamp_granularities",
        )
    if form.response_format in ("srt", "vtt"):
        return has_times and layout_of(form, session.shared.settings).divides_segments
    return wants_words(form)


def _language(capabilities: Capabilities, asked: str, param: str) -> str:
    """The ISO code asked for. Raises BadField."""
    code, known = code_of(asked), capabilities.languages
    if code is None:
        raise BadField(
            f"{asked!r} is not a language Whisper knows: give a code such as 'zh' or 'zh-TW', or "
            "'auto'.",
            param=param,
        )
    if code not in known:
        names = ", ".join(sorted(known)[:12])
        raise BadField(f"This checkpoint does not know {asked!r}; it knows {names}.", param=param)
    return code
