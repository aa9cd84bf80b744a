"""The proof as a page: what it says, what it escapes, and that its plots hold any figures."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api import report
from app.api.report import bits
from app.api.report.sentences import Run, marked
from app.api.report.svg import Axis
from app.api.report.wording import change, duration, megabytes, number, percent, signed
from app.checkpoints.recipe import Recipe
from app.quantization.proof import LanguageProof, Proof, Sentence
from app.quantization.request import QuantizationRequest, Thresholds

SECTIONS = [
    "verdict", "languages", "plots", "forcing", "layers", "costs", "calibration", "recordings",
    "redo",
]  # fmt: skip


def spread(value, low, high):
    return {"value": value, "low": low, "high": high}


def page(asked, judged):
    return report.page(asked, judged, "localhost:8000")


SAME = spread(1.0, 1.0, 1.0)
NONE = spread(0.0, 0.0, 0.0)


def language(metric="wer", source=None, candidate=None, recovery=None, recordings=150):
    source = source or spread(0.05, 0.04, 0.06)
    candidate = candidate or spread(0.052, 0.041, 0.063)
    return LanguageProof(
        recordings=recordings,
        metric=metric,
        source={metric: source} | ({"cer": source} if metric == "wer" else {}),
        candidate={metric: candidate} | ({"cer": candidate} if metric == "wer" else {}),
        recovery=recovery or spread(0.96, 0.9, 1.02),
        increase=candidate["value"] - source["value"],
    )


def forcing(clips, tokens):
    return {
        "clips": clips,
        "tokens": tokens,
        "source_nll": 0.41,
        "candidate_nll": 0.42,
        "nll_difference": spread(0.01, 0.008, 0.012),
        "token_agreement": spread(0.985, 0.98, 0.99),
    }


def sentence(audio="001.ogg", language="en", text="a b c", source=None, candidate=None, errors=0):
    return Sentence(
        audio=audio,
        language=language,
        text=text,
        source=text if source is None else source,
        candidate=text if candidate is None else candidate,
        source_errors=0,
        candidate_errors=errors,
        units=3,
    )


def proof(**other):
    names = [f"{stack}.{number}" for stack in ("encoder", "decoder") for number in range(4)]
    given = {
        "languages": {"en": language(), "zh": language("cer")},
        "comparison": {
            **{"clips": 300, "tokens": 6120, "overall": forcing(300, 6120)},
            "languages": {"en": forcing(160, 2810), "zh": forcing(140, 3310)},
            "layers": [
                {"name": name, "relative_error": 0.01 * n, "own_relative_error": 0.01}
                for n, name in enumerate(names, 1)
            ],
            **{"seconds": 812.0, "peak_rss_bytes": 9_812_000_000},
        },
        "weight_bytes": {"source": 3_087_000_000, "candidate": 1_032_000_000},
        "weight_bytes_per_token": {"source": 1_812_000_000, "candidate": 602_000_000},
        "rtfx": {"source": 11.4, "candidate": 16.5},
        "kernels": {"source": {"UnquantizedLinearMethod": 192}, "candidate": {"Marlin": 192}},
        "run": {
            "proving_seconds": 1093.4,
            "making": {
                "seconds": 2471.0,
                "peak_rss_bytes": 15_200_000_000,
                "quantized": {"W4A16": 384},
                "losses": dict.fromkeys(names, 2.5),
                "rounded_to_nearest": [],
                "calibration": {
                    "recordings": 256,
                    "languages": {"en": 128, "zh": 128},
                    "texts": [{"language": "zh", "text": "船上失火"}],
                },
            },
        },
        "thresholds": Thresholds(max_nll_increase=0.02),
        "reasons": [],
        "emulated": False,
        "sentences": [sentence()],
    }
    return Proof.model_validate(given | other)


def job(**other):
    recipe = Recipe(calibration={"sources": ["/data/speech"], "samples": 256})
    return {
        "id": "qjob_1",
        "status": "proven",
        "source": "MediaTek-Research/Breeze-ASR-25",
        "recipe": recipe.model_dump(mode="json"),
        "proof_set": {"sources": [{"source": "/data/test", "language": "en"}], "samples": 300},
        "promote": "manual",
        "checkpoint": {"fingerprint": "9f3c2a17d5b80e64", "scheme": "W4A16"},
        "finished_at": 1763803600,
        "promoted_at": None,
        "error": None,
    } | other


class Reading(HTMLParser):
    """Checks that what is opened is closed, and keeps the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text, self.ids, self.tags, self.attributes = [], "", [], set(), set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(**other):
    return Reading(page(job(), proof(**other)))


def plots(html):
    """The plots, each within its box."""
    drawn = [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", html, re.S)]
    for one in drawn:
        _, _, width, height = map(float, one.get("viewBox").split())
        for element in one.iter():
            for x, y in points(element):
                assert 0 <= x <= width, ElementTree.tostring(element)
                assert 0 <= y <= height, ElementTree.tostring(element)
    return drawn


def points(element):
    """Every point an element reaches; texts by about how wide they are."""
    given = element.attrib
    for pair in given.get("points", "").split():
        yield tuple(map(float, pair.split(",")))
    number = {
        name: float(given[name])
        for name in ("x", "y", "width", "height", "x1", "y1", "x2", "y2", "cx", "cy", "r")
        if name in given
    }
    match element.tag:
        case "line":
            yield number["x1"], number["y1"]
            yield number["x2"], number["y2"]
        case "rect":
            assert number["width"] >= 0
            assert number["height"] >= 0
            yield number["x"], number["y"]
            yield number["x"] + number["width"], number["y"] + number["height"]
        case "circle":
            yield number["cx"] - number["r"], number["cy"] - number["r"]
            yield number["cx"] + number["r"], number["cy"] + number["r"]
        case "text":
            wide = 8.0 * len(element.text)
            shift = {"start": 0.0, "middle": wide / 2, "end": wide}[given["text-anchor"]]
            yield number["x"] - shift, number["y"]
            yield number["x"] - shift + wide, number["y"]


def test_it_has_every_section_in_order():
    reading = read()
    assert reading.ids == SECTIONS
    for said in (
        "Proven", "W4A16 gptq g128", "Breeze-ASR-25", "3,087 MB → 1,032 MB (−66.6%)",
        "300 recordings (150 en, 150 zh)", "English", "Chinese", "recovery ≥ 90.0%",
        "[4.00%, 6.00%]", "0.4100", "+0.0100", "98.50%", "RTFx", "Marlin (192 layers)",
        "41 min 11 s", "18 min 13 s", "15,200 MB", "384 modules to W4A16",
        "256 recordings (128 en, 128 zh)", "/data/speech", "船上失火",
        "localhost:8000/quantize/qjob_1/report",
    ):  # fmt: skip
        assert said in reading.text, said


def test_it_takes_nothing_from_elsewhere():
    html = page(job(), proof())
    assert "content=\"default-src 'none'; style-src 'unsafe-inline';" in html
    assert not Reading(html).tags & {"script", "link", "img", "iframe"}
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html


def test_a_rejected_candidate_says_why():
    reasons = ["zh: recovery 70.0%, under 90.0%", "the loss grew by 0.0300 nats a token, over 0.02"]
    html = page(job(status="rejected"), proof(reasons=reasons))
    assert "Proven" not in html
    assert all(reason in html for reason in reasons)
    rows = re.findall(r"<tr>.*?</tr>", html, re.S)
    english, chinese = (
        next(row for row in rows if name in row and "recovery" in row)
        for name in ("English", "Chinese")
    )
    assert ">pass<" in english
    assert ">fail<" in chinese
    forced = html.partition('id="forcing"')[2].partition("</section>")[0]
    assert ">fail<" in forced


def test_a_verdict_that_says_little_is_said_to():
    note = "en: 6 of at least 30 recordings"
    assert "Uncertain" not in read().text
    assert f"Uncertain: {note}." in read(notes=[note]).text


def test_modules_that_were_rounded_are_counted_where_there_are_any():
    one = proof()
    one.run["making"]["rounded_to_nearest"] = []
    assert "Rounded to nearest" not in Reading(page(job(), one)).text
    one.run["making"]["rounded_to_nearest"] = ["decoder.fc1"]
    assert "1 module" in Reading(page(job(), one)).text


def test_layers_of_different_bits_are_shown_and_neighbours_alike_share_a_row():
    one = proof()
    schemes = {
        f"{stack}.layers.{layer}.{name}": "W4A16 g32" if layer < 9 else "none"
        for stack, layers in (("encoder", 12), ("decoder", 2))
        for layer in range(layers)
        for name in ("self_attn.qkv", "fc1")
    } | {"encoder.layers.3.fc1": "W8A8"}
    one.run["making"]["schemes"] = schemes
    rows = [[row.layers for row in stack.rows] for stack in bits.stacks(one)]
    assert rows == [["0 to 2", "3", "4 to 8", "9 to 11"], ["0 to 1"]]
    reading = Reading(page(job(), one))
    assert "bits" in reading.ids
    assert "Bits by layer" in reading.text
    one.run["making"]["schemes"] = dict.fromkeys(schemes, "W4A16 g32")
    assert "bits" not in Reading(page(job(), one)).ids


@pytest.mark.parametrize(
    ("limits", "rates", "recovery"),
    [
        (Thresholds(), False, True),
        (Thresholds(min_recovery=None), False, False),
        (Thresholds(max_error_rate=0.07), True, True),
        (Thresholds(max_error_rate=0.9), False, True),  # too far off to be drawn
    ],
)
def test_a_legend_has_a_key_to_a_limit_where_one_is_drawn(limits, rates, recovery):
    html = page(job(), proof(thresholds=limits))
    keys = re.findall(r"<figcaption>.*?</figcaption>", html)
    assert ['"key limit"' in one for one in keys] == [rates, recovery]


def test_a_legend_has_a_key_to_a_layers_own_error_where_that_is_known():
    made = [{"name": "encoder.0", "relative_error": 0.1}]
    assert "by its own doing alone" not in page(job(), proof(comparison={"layers": made}))
    assert "by its own doing alone" in page(job(), proof())


def test_limits_of_one_language_are_its_own():
    own = Thresholds(languages={"zh": {"min_recovery": None, "max_error_rate": 0.08}})
    text = read(thresholds=own).text
    assert "CER ≤ 8.0%" in text
    assert text.count("recovery ≥") == 1


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        ({"emulated": True}, "Emulated: "),
        ({"run": {"making": {"rounded_to_nearest": ["decoder.fc1"]}}}, "Rounded to nearest: 1 mod"),
        ({"thresholds": Thresholds(min_recovery=None)}, "No limit was set"),
    ],
)
def test_it_warns(other, warning):
    assert warning not in read().text
    reading = read(**other)
    assert warning in reading.text
    if "run" in other:
        assert "decoder.fc1" in reading.text


def test_what_went_wrong_after_the_proof_is_told():
    broken = {"code": "engine_failed", "message": "A canary was not heard."}
    assert "A canary was not heard." in page(job(error=broken), proof())


NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


@pytest.mark.parametrize("card", [None, 4_500_000_000])
def test_the_memory_of_a_card_is_among_the_costs_where_there_was_one(card):
    one = proof()
    one.run["making"]["peak_device_bytes"] = one.comparison["peak_device_bytes"] = card
    text = Reading(page(job(), one)).text
    assert ("Peak memory of the card, making" in text) == bool(card)
    assert text.count("4,500 MB") == (2 if card else 0)


def test_how_many_recordings_the_layers_errors_are_of_is_said_where_it_is_known():
    assert "of every language in turn" not in Reading(page(job(), proof())).text
    known = proof()
    known.comparison["layers_clips"] = 8
    assert "Over 8 recordings, of every language in turn" in Reading(page(job(), known)).text


def test_texts_and_names_of_anybodys_are_escaped():
    nasty = proof(
        languages={"en": language(), NASTY: language()},
        reasons=[f"{NASTY}: recovery 1%, under 2%"],
        run={
            "making": {
                "rounded_to_nearest": [NASTY],
                "quantized": {NASTY: 1},
                "calibration": {
                    "recordings": 1,
                    "languages": {NASTY: 1},
                    "texts": [{"language": NASTY, "text": NASTY}],
                },
            }
        },
        sentences=[
            sentence(audio=NASTY, text=NASTY, source=NASTY + " more", candidate=NASTY, errors=3),
            sentence(language=NASTY, text=NASTY, candidate="", errors=-1),
        ],
    )
    nasty.comparison["layers"].append({"name": f"{NASTY}.{NASTY}", "relative_error": 0.1})
    nasty.comparison["languages"][NASTY] = forcing(1, 1)
    nasty.kernels["source"] = {NASTY: 1}
    sources = {"sources": [{"source": NASTY}]}
    asked = job(
        id=NASTY, source=NASTY, proof_set=sources, recipe=None, checkpoint={"scheme": NASTY}
    )
    html = page(asked, nasty)
    reading = Reading(html)
    assert not reading.tags & {"script", "img"}
    assert "onerror" not in reading.attributes
    assert "<script" not in html
    assert "<img" not in html
    assert reading.text.count(NASTY) > 15
    assert len(plots(html)) == 5


def test_the_plots_lie_in_their_boxes():
    drawn = plots(page(job(), proof()))
    assert len(drawn) == 4  # rates, recovery, encoder, decoder
    assert all(one.get("aria-label") for one in drawn)


@pytest.mark.parametrize(
    "one",
    [
        language(source=NONE, candidate=NONE, recovery=SAME),  # neither errs
        language(source=SAME, candidate=NONE, recovery=spread(10.0, 10.0, 10.0)),
        language(source=NONE, candidate=spread(0.2, 0.1, 0.3), recovery=NONE),
        language(source=SAME, candidate=spread(4.0, 1.0, 9.5), recovery=spread(0.25, 0.1, 1.0)),
        language(recovery=spread(1.2, 0.9, 10.0)),
        language(recordings=1),
    ],
)
@pytest.mark.parametrize(
    "limits",
    [
        Thresholds(),
        Thresholds(min_recovery=None),
        Thresholds(min_recovery=0.0, max_increase=1.0, max_error_rate=50.0),
        Thresholds(min_recovery=1.0, max_increase=0.0, max_error_rate=0.0),
    ],
)
def test_plots_hold_the_perfect_and_the_extreme(one, limits):
    html = page(job(), proof(languages={"en": one, "zh": language("cer")}, thresholds=limits))
    assert len(plots(html)) == 4
    assert "nan" not in html.lower().replace("finance", "")
    assert ">inf" not in html


def test_a_recovery_off_the_scale_points_there():
    off = {"en": language(recovery=spread(10.0, 9.0, 10.0)), "zh": language("cer")}
    assert "<polygon" not in page(job(), proof())
    html = page(job(), proof(languages=off))
    assert html.count("<polygon") == 1
    assert "1,000.0%" in html


@pytest.mark.parametrize("count", [1, 2, 7, 32, 64])
@pytest.mark.parametrize("error", [0.0, 1e-7, 0.03, 40.0])
def test_plots_hold_any_number_of_layers(count, error):
    made = [{"name": f"encoder.{n}", "relative_error": error} for n in range(count)]
    assert len(plots(page(job(), proof(comparison={"layers": made})))) == 3


def test_missing_figures_are_left_out():
    html = page({}, proof(comparison={}, run={}, rtfx={}, kernels={}, sentences=[]))
    reading = Reading(html)
    assert reading.ids == SECTIONS
    assert reading.text.count("No figures.") == 2
    assert len(plots(html)) == 2
    odd = {"overall": {}, "layers": [{}, {"name": "encoder.0", "relative_error": float("nan")}]}
    assert "No figures." in read(comparison=odd).text


def test_the_worst_come_first_and_no_more_than_twenty():
    several = [sentence(audio=f"w{n:02}.ogg", candidate="", errors=n) for n in range(1, 41)]
    better = [
        sentence(audio="b.ogg", source="x").model_copy(update={"source_errors": 2}),
    ]
    html = page(job(), proof(sentences=several + better + [sentence()]))
    assert "on 40 recordings, fewer on 1, as many on 1." in html
    shown = re.findall(r"([wb]\d*)\.ogg", html)
    assert shown == [f"w{n:02}" for n in range(40, 20, -1)] + ["b"]


def test_chinese_is_told_to_browsers_and_marked_by_characters():
    one = sentence(
        language="zh", text="船上失火", source="船上失火", candidate="船上著火", errors=1
    )
    html = page(job(), proof(sentences=[one]))
    assert '<dd lang="zh-Hant">船上<del>失</del><ins>著</ins>火</dd>' in html


def test_the_order_can_be_sent_again():
    html = page(job(), proof())
    order = QuantizationRequest.model_validate(
        json.loads(unescape(html.partition("<pre>")[2].partition("</")[0]))
    )
    assert order.model == job()["source"]
    assert order.recipe.calibration.samples == 256
    assert order.thresholds == Thresholds(max_nll_increase=0.02)


@pytest.mark.parametrize(
    ("said", "heard", "expected"),
    [
        ("We need a tow.", "we need a tow", "we need a tow"),
        ("we can’t go", "We can't go!", "We can't go!"),
        ("we need a tow", "We need tow.", "We need [a] tow."),
        ("we need tow", "We need a tow.", "We need {a} tow."),
        ("wait, fire here", "Wait, tow here.", "Wait, [fire] {tow} here."),
        ("b a", "a", "[b] a"),
        ("we go", "", "[we go]"),
        ("", "Thanks for watching!", "{Thanks for watching}!"),
    ],
)
def test_words_are_marked(said, heard, expected):
    assert shown(marked(said, heard, by_words=True)) == expected


def test_scripts_are_the_same_where_they_are_folded():
    heard = "这里，進水１２"
    assert shown(marked("這裡進水12", heard, by_words=False, fold_script=True)) == heard
    assert "{" in shown(marked("這裡進水12", heard, by_words=False))


def shown(runs):
    content_hashes = {"same": "{}", "del": "[{}]", "ins": "{{{}}}"}
    return "".join(content_hashes[run.kind].format(run.text) for run in runs)


@given(st.text("ab ,.'我們", max_size=12), st.text("ab ,.'我們", max_size=12), st.booleans())
def test_marking_keeps_all_that_was_heard(said, heard, by_words):
    runs = marked(said, heard, by_words=by_words)
    kept = "".join(run.text for run in runs if run.kind != "del")
    assert kept.replace(" ", "") == heard.replace(" ", "")
    assert Run("same", "") not in runs


@given(st.floats(0, 10), st.floats(1e-6, 100))
def test_ticks_are_few_and_on_the_axis(low, span):
    axis = Axis(low, low + span, 0, 100)
    ticks = [value for value, _ in axis.ticks()]
    assert len(ticks) <= 7
    assert all(low - 1e-5 * span <= one <= low + span * 1.00001 for one in ticks)


def test_figures_are_written_as_people_read_them():
    assert number(-0.00001, 2) == "0.00"
    assert number(float("nan")) == number(None) == "–"
    assert percent(-0.031, 1) == "−3.1%"
    assert signed(0.01, 2) == "+0.01"
    assert change(100, 100) == "0.0%"
    assert change(0, 5) == "–"
    assert change(10, 15) == "+50.0%"
    assert megabytes(4_200_000) == "4.2 MB"
    assert [duration(s) for s in (5.21, 65, 7380, None)] == [
        "5.2 s",
        "1 min 05 s",
        "2 h 03 min",
        "–",
    ]
