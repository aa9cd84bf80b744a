"""Several models side by side: a request is bound to one, once."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.errors import NotReady, TooManyRequests, UnknownModel
from app.metrics import Metrics
from app.serving.lifecycle import Stage
from app.serving.state import ServiceState
from app.settings import Settings
from tests.serving.fakes import FakeEngine, SilentDecoder, checkpoint, served
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def state(tmp_path):
    """Two models that serve a network, where not every name is taken."""
    settings = Settings(
        models="tiny=a,large=b", max_requests=4, host="0.0.0.0", allow_anonymous=True
    )
    state = ServiceState(settings, Metrics())
    for name, slot in state.slots.items():
        slot.model = served(SilentDecoder(), checkpoint(tmp_path, name), name=name)
        slot.lifecycle.enter(Stage.READY)
    return state


def again(slot, tmp_path, name):
    """The slot's model in an engine that was started again, or another checkpoint in its place."""
    slot.model = served(SilentDecoder(), checkpoint(tmp_path, name), FakeEngine(), name=slot.name)


@pytest.mark.parametrize(
    ("model", "name"), [(None, "tiny"), ("tiny", "tiny"), ("whisper-1", "tiny"), ("large", "large")]
)
async def test_the_name_chooses_and_the_first_is_the_default(state, model, name):
    async with state.place("a") as place:
        slot, chosen = await place.bind(model)
    assert (slot.name, chosen.name) == (name, name)


async def test_a_name_that_none_has_is_told_with_those_there_are(state):
    async with state.place("a") as place:
        with pytest.raises(UnknownModel, match="'tiny' and 'large' are"):
            await place.bind("medieval")


async def test_an_exchange_of_one_waits_for_its_own_requests_alone(state):
    tiny, large = state.slots.values()
    async with state.place("a") as place:
        await place.bind("large")
        assert await tiny.admission.drained(0)
        assert not await large.admission.drained(0)
    assert await large.admission.drained(0)


async def test_requests_are_bounded_for_all_models_together(state):
    async with AsyncExitStack() as stack:
        for number, model in enumerate(["tiny", "tiny", "large", "large"]):
            place = await stack.enter_async_context(state.place(f"client {number}"))
            await place.bind(model)
        with pytest.raises(TooManyRequests):
            await stack.enter_async_context(state.place("late"))
    assert state.limit.under_way == 0


async def test_while_one_is_exchanged_the_other_answers_and_its_own_wait(state):
    large = state.slots["large"]
    large.lifecycle.enter(Stage.EXCHANGING)
    async with state.place("a") as place, state.place("b") as other:
        await place.bind("tiny")
        waiting = asyncio.create_task(other.bind("large"))
        await until(lambda: large.lifecycle._waiters)
        large.lifecycle.enter(Stage.READY)
        slot, _ = await waiting
    assert slot is large


async def test_one_that_restarts_is_told_to_come_again_and_the_other_answers(state):
    large = state.slots["large"]
    large.lifecycle.enter(Stage.RESTARTING)
    async with state.place("a") as place:
        with pytest.raises(NotReady):
            await place.bind("large")
        await place.bind("tiny")


async def test_nobody_is_let_in_where_no_model_serves(state):
    for slot in state.slots.values():
        slot.lifecycle.enter(Stage.LOADING)
    with pytest.raises(NotReady):
        await state.place("a").__aenter__()


async def test_the_service_is_ready_when_every_model_is(state):
    assert state.status().answers
    state.slots["large"].lifecycle.enter(Stage.LOADING)
    assert state.status().stage is Stage.LOADING


async def test_a_request_goes_on_in_an_engine_that_was_started_again(state, tmp_path):
    slot = state.default
    before = slot.model
    before.loaded.engine.dead = True
    again(slot, tmp_path, "tiny")
    assert slot.successor(before) is slot.model


async def test_a_request_never_changes_to_another_checkpoint(state, tmp_path):
    slot = state.default
    before = slot.model
    again(slot, tmp_path, "promoted")
    assert slot.successor(before) is before  # as long as its engine lives
    before.loaded.engine.dead = True
    with pytest.raises(NotReady, match="Another checkpoint"):
        slot.successor(before)
