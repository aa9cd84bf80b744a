"""FairQueue: shared between clients, then between a client's requests, by seconds of audio."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admission.fair_queue import FairQueue
from tests.waiting import turns as steps

pytestmark = pytest.mark.anyio


class Line:
    """Windows that ask for turns of one slot, and the order in which they got them."""

    def __init__(self, slots=1, full=None):
        self.now = 1000.0
        self.turns, self.order = FairQueue(slots, full, clock=lambda: self.now), []
        self.tasks, self.release = {}, {}

    async def ask(self, name, client, request="r", seconds=30.0, **kind):
        self.release[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, client, request, seconds, kind))
        await steps()

    async def hour(self, client, windows=12):
        """Ask for turns of the windows of a long recording."""
        for number in range(windows):
            await self.ask(f"{client} {number}", client, is_long=True)

    @property
    def running(self):
        return [name for name in self.order if not self.release[name].is_set()]

    async def _hold(self, name, client, request, seconds, kind):
        async with self.turns.slot(client, request, seconds, **kind):
            self.order.append(name)
            await self.release[name].wait()

    async def end(self, name):
        self.release[name].set()
        await self.tasks[name]
        await steps()

    async def run_out(self):
        """End whoever has a turn until nobody is left."""
        ended = set()
        while running := [n for n in self.order if n not in ended]:
            ended.add(running[0])
            await self.end(running[0])
        return self.order


@pytest.fixture
async def line():
    line = Line()
    yield line
    for task in line.tasks.values():
        task.cancel()
    await asyncio.gather(*line.tasks.values(), return_exceptions=True)


async def test_as_many_as_there_are_slots_get_in_and_the_others_in_order():
    line = Line(slots=2)
    for number in range(5):
        await line.ask(number, "a")
    assert line.order == [0, 1]
    assert (line.turns.running, line.turns.waiting) == (2, 3)
    assert await line.run_out() == [0, 1, 2, 3, 4]
    assert (line.turns.running, line.turns.waiting) == (0, 0)


async def test_a_clip_does_not_wait_for_somebody_elses_hour(line):
    for number in range(120):
        await line.ask(f"hour {number}", "archive")
    await line.ask("clip", "phone", seconds=3)
    await line.end("hour 0")
    assert line.order[-1] == "clip"


async def test_a_clip_does_not_wait_for_an_hour_of_the_same_client(line):
    for number in range(120):
        await line.ask(f"hour {number}", "a", request="hour")
    await line.ask("clip", "a", request="clip", seconds=3)
    await line.end("hour 0")
    assert line.order[-1] == "clip"


async def test_clients_share_by_seconds_not_by_requests(line):
    await line.ask("first", "other", seconds=1)
    for number in range(6):
        await line.ask(f"a{number}", "a", request=str(number), seconds=10)
    for number in range(2):
        await line.ask(f"b{number}", "b", seconds=30)
    order = await line.run_out()
    assert order == ["first", "a0", "b0", "a1", "a2", "a3", "b1", "a4", "a5"]


async def test_who_comes_again_and_again_does_not_pass_who_waits(line):
    """One at a time, each as soon as the last is done: still no more than half."""
    await line.ask("b0", "b")
    for number in range(4):
        await line.ask(f"a{number}", "a")
    for number in range(1, 4):
        await line.ask(f"b{number}", "b")
        await line.end(line.order[-1])
        await line.end(line.order[-1])
    assert sum(name.startswith("a") for name in line.order) >= 3


async def test_nobody_saves_up_turns_while_away(line):
    await line.ask("a0", "a", seconds=1)
    for number in range(6):
        await line.ask(f"b{number}", "b")
    for _ in range(4):
        await line.end(line.order[-1])
    for number in range(1, 4):
        await line.ask(f"a{number}", "a", request=str(number))
    order = await line.run_out()
    assert order[5:] != ["a1", "a2", "a3", "b4", "b5"]
    assert order.index("b4") < order.index("a3")


async def test_who_leaves_the_line_is_not_given_a_turn(line):
    for name in "abc":
        await line.ask(name, name)
    line.tasks["b"].cancel()
    await steps()
    assert line.turns.waiting == 1
    await line.end("a")
    assert line.order == ["a", "c"]


async def test_a_turn_given_in_the_moment_of_leaving_is_passed_on(line):
    for name in "abc":
        await line.ask(name, name)
    line.release["a"].set()
    await line.tasks["a"]  # b has its turn, and has not run since
    assert line.turns.running == 1
    line.tasks["b"].cancel()
    await steps()
    assert line.order[-1] == "c"
    await line.end("c")
    assert (line.turns.running, line.turns.waiting) == (0, 0)


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_all_windows_of_a_request_may_leave_at_once(slots):
    """Those with a turn end it while those in line do not know yet that they are cancelled."""
    line = Line(slots)
    for number in range(12):
        await line.ask(number, "a")
    for task in line.tasks.values():
        task.cancel()
    await asyncio.gather(*line.tasks.values(), return_exceptions=True)
    assert (line.turns.running, line.turns.waiting) == (0, 0)
    await line.ask("clip", "b")
    assert line.order[-1] == "clip"
    await line.end("clip")


async def test_who_leaves_as_another_ends_takes_nothing_with_it(line):
    for name in "abc":
        await line.ask(name, name)
    line.tasks["b"].cancel()
    line.release["a"].set()
    await line.tasks["a"]
    await steps()
    assert line.order == ["a", "c"]
    await line.end("c")
    assert (line.turns.running, line.turns.waiting) == (0, 0)


async def test_who_left_is_not_charged_for_what_it_did_not_get(line):
    await line.ask("first", "x", seconds=1)
    for number in range(9):
        await line.ask(f"a{number}", "a", request="long")
    for number in range(9):
        line.tasks[f"a{number}"].cancel()
    await line.end("first")
    await line.ask("b0", "b")
    for number in range(1, 3):
        await line.ask(f"b{number}", "b")
    await line.ask("again", "a", request="new")
    await line.end("b0")
    assert line.order[-1] == "again"


async def test_nothing_is_remembered_of_who_is_gone(line):
    for number in range(50):
        await line.ask(number, f"client {number}", request=str(number))
        await line.end(number)
        line.turns.forget(f"client {number}", str(number))
    assert not line.turns._line._members


async def test_more_slots_let_more_in_and_fewer_take_nothing_away(line):
    for name in "abcd":
        await line.ask(name, name)
    line.turns.resize(3)
    await steps()
    assert line.order == ["a", "b", "c"]
    line.turns.resize(1)
    await line.end("a")
    await line.end("b")
    assert line.turns.waiting == 1
    await line.end("c")
    assert line.order[-1] == "d"


@given(
    windows=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.floats(0.1, 30), st.booleans()),
        max_size=30,
    ),
    slots=st.integers(1, 4),
)
async def test_everybody_who_stays_gets_one_turn_and_nothing_is_left(windows, slots):
    line = Line(slots)
    for number, (client, request, seconds, _) in enumerate(windows):
        await line.ask(number, client, request, seconds, is_long=request == "y")
    had = set(line.order)
    leaves = {number for number, window in enumerate(windows) if window[-1]}
    for number in leaves:
        line.tasks[number].cancel()
    await asyncio.gather(*(line.tasks[number] for number in leaves), return_exceptions=True)
    await steps()
    stay = set(range(len(windows))) - leaves
    for number in had & stay:
        line.release[number].set()
    while waiting := [n for n in stay if not line.tasks[n].done()]:
        for number in set(line.order) & set(waiting):
            line.release[number].set()
        await steps()
    assert stay <= set(line.order)
    assert len(line.order) == len(set(line.order))
    assert (line.turns.running, line.turns.waiting) == (0, 0)


async def test_long_work_leaves_a_slot_to_whoever_comes():
    line = Line(slots=4, full=3)
    await line.hour("archive")
    assert len(line.running) == 3
    await line.ask("clip", "phone", seconds=3)
    assert line.running[-1] == "clip"


async def test_long_work_has_few_slots_while_clips_come_one_after_another():
    line = Line(slots=8)
    await line.hour("archive", windows=40)
    for number in range(12):
        await line.ask(f"clip {number}", "phone", seconds=3)
        await line.end(line.running[0])
        await line.end(f"clip {number}")
    assert len(line.running) == 2
    await line.end(line.running[0])
    assert len(line.running) == 2


async def test_long_work_has_no_more_than_a_few_slots_beside_clips_however_many_there_are():
    line = Line(slots=40)
    await line.ask("clip", "phone", seconds=3)
    await line.hour("archive", windows=60)
    assert len(line.running) == 1 + 5


async def test_long_work_has_all_slots_again_once_no_clips_come():
    line = Line(slots=8)
    await line.ask("clip", "phone", seconds=3)
    await line.hour("archive", windows=40)
    assert len(line.running) == 3
    line.now += 60
    await line.end(line.running[1])
    assert len(line.running) == 3, "the clip is still there"
    await line.end("clip")
    line.now += 60
    await line.end(line.running[0])
    assert len(line.running) == 8


async def test_long_work_goes_on_beside_a_flood_of_clips():
    line = Line(slots=2)
    for number in range(20):
        await line.ask(f"clip {number}", "phone", request=str(number), seconds=3)
    await line.hour("archive")
    order = await line.run_out()
    assert order.index("archive 0") < order.index("clip 4")
    assert order.index("archive 1") < order.index("clip 19")


async def test_long_recordings_share_the_slots_that_they_have():
    line = Line(slots=8)
    await line.ask("clip", "phone", seconds=3)
    await line.hour("one")
    await line.hour("other")
    for _ in range(6):
        await line.end(line.running[1])
    told = [name.split()[0] for name in line.order[1:]]
    assert abs(told.count("one") - told.count("other")) <= 2


async def test_what_nobody_waits_for_comes_behind_all_that_somebody_does(line):
    await line.ask("job 0", "archive", behind=True)
    await line.ask("job 1", "archive", behind=True)
    for number in range(3):
        await line.ask(number, "person", seconds=300.0, is_long=True)
    assert (line.turns.waiting, line.turns.waiting_behind) == (3, 1)
    assert await line.run_out() == ["job 0", 0, 1, 2, "job 1"]


async def test_what_nobody_waits_for_is_shared_fairly_too(line):
    for number in range(4):
        await line.ask(f"a{number}", "a", behind=True)
    await line.ask("b", "b", behind=True)
    order = await line.run_out()
    assert order.index("b") == 1


async def test_what_nobody_waits_for_leaves_room_as_long_work_does():
    line = Line(slots=8)
    await line.ask("clip", "phone", seconds=3)
    for number in range(12):
        await line.ask(f"job {number}", "archive", behind=True)
    assert len(line.running) == 3


async def test_who_gives_up_behind_the_others_leaves_no_place_taken(line):
    await line.ask("first", "a")
    await line.ask("job", "b", behind=True)
    line.tasks["job"].cancel()
    await steps()
    line.turns.forget("b", "r")
    assert line.turns.waiting_behind == 0
    await line.end("first")
    await line.ask("other", "b", behind=True)
    assert line.order == ["first", "other"]
