"""The view of checkpoints, for whoever has the admin key."""

import pytest

from app.quantization.auto_recipe import AutoRecipe
from tests.api.test_quantize import FakeQuantizing
from tests.page.test_everybody import findings

pytestmark = pytest.mark.page


@pytest.fixture
def settings():
    return {"admin_key": "chief"}


@pytest.fixture
def quantizing(context, tmp_path):
    context.quantization = FakeQuantizing(tmp_path / "jobs")
    return context.quantization


@pytest.fixture
def models(quantizing, page):
    """The view, open with the admin key."""
    page.get_by_role("link", name="Models").click()
    page.locator("#key").fill("chief")
    page.keyboard.press("Enter")
    page.get_by_text("None yet.").wait_for()
    return page


def ordered(models, name):
    models.locator("#order-model").fill(name)
    models.get_by_role("button", name="Make and prove").click()
    return models.locator(".job").first


def test_a_job_is_made_watched_and_promoted(models, quantizing):
    job = ordered(models, "openai/whisper-tiny")
    job.get_by_text("quantizing 1/2").wait_for()
    quantizing.go.set()
    job.get_by_text("Proven").wait_for()
    assert job.get_by_role("link", name="Report").get_attribute("href").endswith("/report")
    job.get_by_role("button", name="Promote").click()
    job.locator(".badge", has_text="Serves").wait_for()
    assert quantizing.orders[0].recipe.scheme == "W4A16"


def test_bits_are_left_to_the_machine_for_a_scenario(models, quantizing):
    scenario, method = models.locator("#order-scenario"), models.locator("#order-method")
    assert (scenario.is_visible(), method.is_visible()) == (False, True)
    models.locator("#order-scheme").select_option("auto")
    assert (scenario.is_visible(), method.is_visible()) == (True, False)
    scenario.select_option("memory")
    ordered(models, "openai/whisper-tiny").get_by_text("auto of openai/whisper-tiny").wait_for()
    assert quantizing.orders[0].recipe == AutoRecipe(scheme="auto", scenario="memory")


def test_a_job_that_fails_says_why_and_can_be_resumed(models, quantizing):
    job = ordered(models, "failed")
    quantizing.go.set()
    job.get_by_text("None is left. Buy some.").wait_for()
    assert job.get_by_role("button", name="Resume").is_visible()


def test_a_job_that_is_rejected_says_why_and_is_not_promoted(models, quantizing):
    job = ordered(models, "rejected")
    quantizing.go.set()
    job.get_by_text("en: too bad").wait_for()
    assert job.get_by_role("button", name="Promote").count() == 0


def test_a_job_is_cancelled(models):
    job = ordered(models, "openai/whisper-tiny")
    job.get_by_role("button", name="Cancel").click()
    job.locator(".badge", has_text="Cancelled").wait_for()


def test_what_served_before_is_rolled_back_to_when_that_is_confirmed(models, quantizing):
    asked = []
    models.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    with models.expect_response("**/models/rollback") as answered:
        models.get_by_role("button", name="Roll back").click()
    assert answered.value.status == 200
    assert len(asked) == 1


def test_the_report_opens_with_the_admin_key_as_a_password(models, quantizing, browser, url):
    job = ordered(models, "openai/whisper-tiny")
    quantizing.go.set()
    job.get_by_text("Proven").wait_for()
    link = job.get_by_role("link", name="Report").get_attribute("href")
    reader = browser.new_context(http_credentials={"username": "any", "password": "chief"})
    report = reader.new_page()
    assert report.goto(f"{url}/{link}").status == 200
    reader.close()


def test_the_dialog_for_the_key_darkens_the_whole_window(quantizing, page):
    page.get_by_role("link", name="Models").click()
    page.locator("#key").wait_for()
    assert page.evaluate("document.documentElement.clientWidth === innerWidth")


class TestEverybody:
    @pytest.fixture(params=["light", "dark"])
    def how(self, request):
        return {"color_scheme": request.param}

    def test_the_view_has_nothing_that_axe_finds(self, models, quantizing):
        assert findings(models) == []
        job = ordered(models, "rejected")
        assert findings(models) == []
        quantizing.go.set()
        job.get_by_text("en: too bad").wait_for()
        ordered(models, "openai/whisper-tiny").get_by_text("Proven").wait_for()
        assert findings(models) == []


class TestWithoutAnAdminKey:
    @pytest.fixture
    def settings(self):
        return {}

    def test_the_server_says_what_is_missing(self, page, quantizing):
        page.get_by_role("link", name="Models").click()
        page.get_by_text("MARLINSCRIBE_ADMIN_KEY is not set.").wait_for()
