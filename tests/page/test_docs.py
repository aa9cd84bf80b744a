"""/docs and /redoc from files of ours, with nothing else to be reached."""

import pytest

pytestmark = pytest.mark.page


@pytest.fixture(params=["docs", "redoc"])
def described(request, window, url):
    """A description, open where nothing but the service is reached."""
    page, faults = window.new_page(), []
    page.route(
        lambda asked: not asked.startswith((url, "data:", "blob:")),
        lambda route: (faults.append(route.request.url), route.abort()),
    )
    page.on(
        "console", lambda said: "Content Security Policy" in said.text and faults.append(said.text)
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{url}/{request.param}")
    yield page
    return faults


def test_a_description_shows_the_routes_with_the_network_off(described):
    described.get_by_text("/v1/audio/transcriptions").first.wait_for()


def test_a_request_is_tried_from_the_description(window, url):
    page = window.new_page()
    page.goto(f"{url}/docs")
    route = page.locator("#operations-health-live_health_live_get")
    route.get_by_role("button").first.click()
    route.get_by_role("button", name="Try it out").click()
    route.get_by_role("button", name="Execute").click()
    route.locator(".live-responses-table").get_by_text('"live"').wait_for()
