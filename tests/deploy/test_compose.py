"""docker-compose.yml, as far as it can be tried without docker."""

import re

import pytest

from app.settings import Settings
from tests.deploy.files import ROOT, read

COMPOSE = read("docker-compose.yml")
SERVICES = COMPOSE["services"]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")
VARIANTS = ("marlinscribe", "cpu")


def default(text):
    """Variables replaced by what they are where nobody sets them."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bare_and_reachable_from_this_machine_alone(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_port_on_this_machine_may_be_another(name):
    for port in SERVICES[name]["ports"]:
        assert re.fullmatch(
            r"127\.0\.0\.1:\$\{(MARLINSCRIBE|PROMETHEUS|GRAFANA)_PORT:-\d+\}:\d+", port
        )


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_does_not_take_the_whole_machines_memory(name):
    assert re.fullmatch(r"\d+[mg]", default(SERVICES[name]["mem_limit"]))
    assert (name in VARIANTS) == ("${MEMORY_LIMIT:-" in SERVICES[name]["mem_limit"])


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name):
    for mount in SERVICES[name]["volumes"]:
        source, target, *_ = default(mount).split(":")
        assert target.startswith("/")
        known = (ROOT / source).exists() if "/" in source else source in COMPOSE["volumes"]
        assert known, mount


def test_images_of_others_are_pinned():
    for name in SERVICES.keys() - VARIANTS:
        assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


def test_one_profile_starts_one_variant_and_the_monitoring():
    started = {
        profile: {name for name, one in SERVICES.items() if profile in one.get("profiles", ())}
        for profile in ("gpu", "cpu")
    }
    monitoring = {"prometheus", "grafana"}
    assert started == {"gpu": {"marlinscribe", *monitoring}, "cpu": {"cpu", *monitoring}}
    assert all(one.get("profiles") for one in SERVICES.values())  # none starts by itself
    assert re.search(r"^COMPOSE_PROFILES=gpu$", EXAMPLE, re.MULTILINE)


def test_only_the_gpu_variant_asks_for_a_card():
    assert [name for name, one in SERVICES.items() if "deploy" in one] == ["marlinscribe"]


def test_the_example_has_every_variable_that_compose_asks_for():
    asked = set(re.findall(r"\$\{(\w+):[?-]", TEXT)) - {"MARLINSCRIBE_DATA_ROOTS"}
    assert {"PRESET", "RECORDINGS", "MEMORY_LIMIT", "GRAFANA_PORT"} <= asked
    assert asked <= set(re.findall(r"^#?(\w+)=", EXAMPLE, re.MULTILINE))


def test_the_example_holds_no_secret():
    assert set(re.findall(r"^\w*(?:KEY|KEYS|PASSWORD)=(.*)$", EXAMPLE, re.MULTILINE)) == {""}


def test_presets_exist_and_hold_settings():
    files = {default(file) for name in VARIANTS for file in SERVICES[name]["env_file"]} - {".env"}
    for file in files:
        for line in (ROOT / file).read_text("utf-8").splitlines():
            if line and not line.startswith("#"):
                name = line.split("=")[0].removeprefix("MARLINSCRIBE_").lower()
                assert name in Settings.model_fields


def test_prometheus_finds_the_service_by_the_name_of_either_variant():
    (job, _) = read("deploy/prometheus/prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["marlinscribe:8000"]}]
    assert SERVICES["cpu"]["networks"]["default"]["aliases"] == ["marlinscribe"]


def test_grafana_asks_the_prometheus_beside_it_and_lets_nobody_in_unasked():
    (source,) = read("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")


def test_provisioned_dashboards_are_where_grafana_looks():
    (provider,) = read("deploy/grafana/provisioning/dashboards/marlinscribe.yml")["providers"]
    mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]


def test_the_settings_in_the_compose_file_are_settings():
    for name in VARIANTS:
        for variable in SERVICES[name]["environment"]:
            if variable.startswith("MARLINSCRIBE_"):
                assert variable.removeprefix("MARLINSCRIBE_").lower() in Settings.model_fields


def test_the_container_is_given_longer_to_end_than_requests_are():
    drain = Settings.model_fields["drain_seconds"].default
    for name in VARIANTS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= drain + 20
