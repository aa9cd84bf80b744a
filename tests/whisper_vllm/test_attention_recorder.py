"""The worker records what some requests' tokens attend to, and nothing else."""

from itertools import chain
from types import SimpleNamespace

import numpy as np
import torch

from app.models.whisper_vllm.attention_recorder import NAME, AttentionRecorder

HEADS, SIZE, FRAMES = 4, 2, 3


class Engine:
    """A model of two decoder layers, in which every token's query and every frame's key are its
    own number, and the steps of its batch."""

    def __init__(self, heads=((0, 1), (1, 0), (1, 3)), windows=2):
        layers = [self.layer(), self.layer()]
        decoder = SimpleNamespace(
            layers=layers,
            layer_norm=SimpleNamespace(weight=torch.zeros(1)),
            max_target_positions=10,
        )
        model = SimpleNamespace(model=SimpleNamespace(decoder=decoder))
        self.recorder = AttentionRecorder(model, heads, rows=16, windows=windows)
        self.attentions = [layer.encoder_attn.attn for layer in layers]
        self.computed = {}
        self.encoded = {}

    def positions(self, request):
        """How many frames the encoder has for a request."""
        return self.encoded.get(request, FRAMES)

    def layer(self):
        impl = SimpleNamespace(forward=lambda layer, query, key, *_: "attended")
        attention = SimpleNamespace(impl=impl, head_size=SIZE)
        return SimpleNamespace(encoder_attn=SimpleNamespace(attn=attention))

    def step(self, scheduled, new=(), finished=()):
        """Run a step: `scheduled` is each request's number of tokens, `new` the names of those to
        be recorded by request."""
        computed = {request: self.computed.get(request, 0) for request in scheduled}
        numbers = [[100 * int(request) + computed[request] + n for n in range(count)]
                   for request, count in scheduled.items()]  # fmt: skip
        frames = [[20 * int(request) + n for n in range(self.positions(request))]
                  for request in scheduled if computed[request] == 0]  # fmt: skip
        told = output(scheduled, new, finished)
        self.recorder.before_step(told)
        for layer, attention in enumerate(self.attentions):
            query = values(chain(*numbers), layer)
            key = values(chain(*frames), layer) if frames else None
            assert attention.impl.forward(attention, query, key, None) == "attended"
        batch = SimpleNamespace(req_ids=list(scheduled),
                                num_computed_tokens_cpu=np.array([*computed.values()]))  # fmt: skip
        requests = {request: state(self.positions(request)) for request in scheduled}
        self.recorder.after_step(batch, told, requests)
        for request, count in scheduled.items():
            self.computed[request] = computed[request] + count


def state(positions):
    place = SimpleNamespace(length=positions)
    return SimpleNamespace(mm_features=[SimpleNamespace(mm_position=place)])


def values(numbers, layer):
    """The number of a token or frame, and in its fraction the layer and the head."""
    heads = torch.arange(HEADS) / 8
    tensor = torch.tensor(list(numbers), dtype=torch.float32)[:, None] + heads + layer / 2
    return tensor[:, :, None].expand(-1, -1, SIZE)


def output(scheduled, new, finished):
    return SimpleNamespace(
        scheduled_new_reqs=[new_request(*one) for one in dict(new).items()],
        num_scheduled_tokens=scheduled,
        total_num_scheduled_tokens=sum(scheduled.values()),
        finished_req_ids=set(finished),
    )  # fmt: skip


def new_request(request, name):
    sampling = SimpleNamespace(extra_args={NAME: name})
    return SimpleNamespace(req_id=request, sampling_params=sampling)


def taken(engine, name, first, count, frames=FRAMES):
    """Queries and keys, by head, as the numbers that they are made of."""
    found = engine.recorder.take(name, first, count, frames)
    if found is None:
        return None
    shape = (found["heads"], -1, found["size"])
    queries, keys = (np.frombuffer(found[part], np.float16).reshape(shape)[..., 0]
                     for part in ("queries", "keys"))  # fmt: skip
    return queries.tolist(), keys.tolist()


def test_queries_are_by_position_and_keys_by_frame_of_the_heads_asked_for():
    engine = Engine()
    engine.step({"1": 3}, {"1": "a"})
    engine.step({"1": 1})
    engine.step({"1": 1}, finished=["1"])
    queries, keys = taken(engine, "a", 2, 3)
    fractions = [0.125, 0.5, 0.875]
    assert queries == [[102 + f, 103 + f, 104 + f] for f in fractions]
    assert keys == [[20 + f, 21 + f, 22 + f] for f in fractions]


def test_requests_of_one_step_are_kept_apart():
    engine = Engine(heads=[(0, 0)])
    engine.step({"1": 2}, {"1": "a"})
    engine.step({"1": 1, "2": 3, "3": 2}, {"2": "", "3": "c"})
    engine.step({"3": 1, "1": 1})
    assert taken(engine, "c", 0, 3) == ([[300, 301, 302]], [[60, 61, 62]])
    assert taken(engine, "a", 1, 3) == ([[101, 102, 103]], [[20, 21, 22]])


def test_windows_of_unequal_length_in_one_step_have_each_its_own_keys():
    engine = Engine(heads=[(0, 0)])
    engine.encoded = {"1": 5, "2": 2, "3": 4}
    engine.step({"1": 1, "2": 1, "3": 1}, {"1": "a", "2": "", "3": "c"})
    assert taken(engine, "a", 0, 1, 5)[1] == [[20, 21, 22, 23, 24]]
    assert taken(engine, "c", 0, 1, 5)[1] == [[60, 61, 62, 63]]


def test_what_nobody_asks_for_is_not_kept():
    engine = Engine()
    engine.step({"1": 2}, {"1": ""})
    assert taken(engine, "", 0, 1) is None


def test_a_request_that_is_preempted_is_recorded_anew():
    engine = Engine(heads=[(0, 0)])
    engine.step({"1": 2}, {"1": "a"})
    engine.step({"1": 1})
    engine.computed["1"] = 0
    engine.step({"1": 3})
    engine.step({"1": 1})
    assert taken(engine, "a", 0, 4)[0] == [[100, 101, 102, 103]]


def test_a_record_is_taken_once():
    engine = Engine()
    engine.step({"1": 2}, {"1": "a"}, finished=["1"])
    assert taken(engine, "a", 0, 1)
    assert taken(engine, "a", 0, 1) is None


def test_records_that_nobody_takes_make_room():
    engine = Engine(windows=2)
    for number in range(1, 10):
        engine.step({str(number): 1}, {str(number): f"n{number}"}, finished=[str(number - 1)])
    assert taken(engine, "n1", 0, 1) is None
    assert taken(engine, "n9", 0, 1)


def test_only_the_frames_that_are_heard_are_told():
    engine = Engine(heads=[(0, 0)])
    engine.step({"1": 1}, {"1": "a"})
    assert taken(engine, "a", 0, 1, frames=2)[1] == [[20, 21]]
