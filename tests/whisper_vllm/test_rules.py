"""Whisper's decoding grammar."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.environment import DEMO
from app.models.whisper_vllm.rules import Allow, Ban, WindowRules, forced_steps, next_step
from app.models.whisper_vllm.tokens import SpecialTokens

T = SpecialTokens.load(DEMO / "marine-radio")
TS, END, TEXT = T.first_timestamp, T.end_of_text, 5


def step(rules, generated):
    return next_step(T, forced_steps(T, rules), generated, rules.frames)


def allowed(rules, generated, token):
    """Whether the rules let `token` follow."""
    answer = step(rules, generated)
    if isinstance(answer, Allow):
        return token in answer.ids
    return token not in T.suppressed and not any(token in r for r in answer.ranges)


def test_the_first_step_is_any_language_or_the_one_asked_for():
    assert step(WindowRules(), []) == Allow((902, 903))
    assert step(WindowRules(languages=("zh",)), []) == Allow((903,))


def test_the_second_step_is_the_task():
    assert step(WindowRules(), [902]) == Allow((T.transcribe,))
    assert step(WindowRules(translate=True), [902]) == Allow((T.translate,))


def test_without_timestamps_the_third_step_says_so_and_none_follow():
    rules = WindowRules(timestamps=False)
    assert step(rules, [902, T.transcribe]) == Allow((T.no_timestamps,))
    head = [902, T.transcribe, T.no_timestamps]
    assert allowed(rules, [*head, TEXT], TEXT)
    assert allowed(rules, [*head, TEXT], END)
    assert not allowed(rules, [*head, TEXT], TS + 3)


HEAD = [902, 1002]


def test_a_window_opens_with_an_early_timestamp():
    rules = WindowRules()
    assert allowed(rules, HEAD, TS)
    assert allowed(rules, HEAD, TS + T.max_initial_timestamp)
    assert not allowed(rules, HEAD, TS + T.max_initial_timestamp + 1)
    assert not allowed(rules, HEAD, TEXT)
    assert not allowed(rules, HEAD, END)


def test_after_the_opening_timestamp_come_text_or_the_end():
    opened = [*HEAD, TS + 2]
    assert allowed(WindowRules(), opened, TEXT)
    assert allowed(WindowRules(), opened, END)
    assert not allowed(WindowRules(), opened, TS + 4)


def test_a_closing_timestamp_is_later_than_the_opening_one():
    spoken = [*HEAD, TS + 10, TEXT]
    assert not allowed(WindowRules(), spoken, TS + 10)
    assert allowed(WindowRules(), spoken, TS + 11)


def test_after_a_closing_timestamp_comes_its_partner_or_the_end():
    closed = [*HEAD, TS + 10, TEXT, TS + 40]
    assert not allowed(WindowRules(), closed, TEXT)
    assert not allowed(WindowRules(), closed, TS + 39)
    assert allowed(WindowRules(), closed, TS + 40)
    assert allowed(WindowRules(), closed, END)


def test_a_likelier_timestamp_wins_once_text_has_begun():
    assert step(WindowRules(), [*HEAD, TS, TEXT]).timestamp_if_likelier
    assert not step(WindowRules(), [*HEAD, TS]).timestamp_if_likelier


def test_an_english_only_checkpoint_has_no_language_and_task_steps():
    english = SpecialTokens(**{**T.__dict__, "languages": {}})
    assert forced_steps(english, WindowRules()) == []
    assert isinstance(next_step(english, [], []), Ban)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 2507), max_size=40), st.randoms())
def test_whatever_is_sampled_timestamps_pair_up_and_never_go_back(wishes, random):
    """Walk the grammar with arbitrary wishes; what the rules let through is well formed."""
    generated = []
    for wish in [*wishes, END]:
        if allowed(WindowRules(), generated, wish):
            generated.append(wish)
        else:
            choices = [
                i
                for i in (END, TEXT, TS, *range(TS, TS + 1501, 37))
                if allowed(WindowRules(), generated, i)
            ]
            generated.append(
                random.choice(choices) if choices else step(WindowRules(), generated).ids[0]
            )
        if generated[-1] == END:
            break
    stamps = [i for i in generated if i in T.timestamps]
    assert stamps == sorted(stamps)
    body = generated[2:]
    for before, after, last in zip(body, body[1:], body[2:], strict=False):
        assert not (before in T.timestamps and after in T.timestamps and last in T.timestamps)


def test_nothing_begins_or_ends_behind_a_window_that_is_heard_shortened():
    short = WindowRules(frames=100)
    spoken, closed = [*HEAD, TS, TEXT], [*HEAD, TS, TEXT, TS + 80]
    assert allowed(short, spoken, TS + 100)
    assert not allowed(short, spoken, TS + 101)
    assert allowed(short, closed, TS + 90)
    assert not allowed(short, closed, TS + 91)
    assert allowed(WindowRules(), spoken, TS + 101)
    assert allowed(WindowRules(), closed, TS + 91)


def test_a_segment_that_ends_with_its_window_is_the_last():
    closed = [*HEAD, TS, TEXT, TS + 95]
    choices = [i for i in range(T.timestamps.stop) if allowed(WindowRules(frames=100), closed, i)]
    assert choices == [END]
