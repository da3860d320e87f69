"""Checks that the metrics page has vLLM's names, types, help, labels and buckets, and the engine's numbers."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tierwise_sim import flags
from tierwise_sim.engine import Engine
from tierwise_sim.exposition import MetricsPage
from tierwise_sim.sequence import Request
from tierwise_sim.server import cache_info
from tierwise_sim.settings import EngineSettings
from tierwise_sim.speculation import Speculation
from tierwise_sim.stats import request_token_buckets

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("vllm_metrics.json").read_text(encoding="utf-8"))
SETTINGS = EngineSettings(
    max_model_len=8192, max_num_queued_reqs=3, speculation=Speculation("ngram", 2, 0.5), kv_offload_gib=1
)


def busy_engine(settings: EngineSettings = SETTINGS) -> Engine:
    engine = Engine(settings, Random(0))
    for index in range(4):
        engine.submit(Request(str(index), 160, 30, max_tokens=30, block_hashes=list(range(10))), 0.0)
    engine.advance(3.0)
    engine.submit(Request("open", 100, 4000), 3.0)
    engine.advance(4.0)
    return engine


def page(engine: Engine, version: str = "0.33.0") -> MetricsPage:
    return MetricsPage(
        engine, 'a "quoted" name', version, cache_info(engine.settings, flags.parse(["serve", "m"], version))
    )


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def sample(found: dict[str, Metric], name: str, **labels: str) -> float:
    family = next(family for family in found.values() if any(s.name == name for s in family.samples))
    values = [s.value for s in family.samples if s.name == name and labels.items() <= s.labels.items()]
    assert len(values) == 1, (name, labels, values)
    return values[0]


@pytest.mark.parametrize("expected", GOLDEN["metrics"], ids=lambda expected: str(expected["name"]))
def test_each_metric_is_vllms(expected: dict[str, Any]) -> None:
    text = page(busy_engine()).render()
    name, kind = expected["name"], expected["type"]
    assert f"# HELP {name} {expected['help']}\n# TYPE {name} {kind}\n" in text
    family = families(text)[name.removesuffix("_total") if kind == "counter" else name]
    for found in family.samples:
        assert sorted(label for label in found.labels if label != "le") == expected["labels"]
        assert found.labels["model_name"] == 'a "quoted" name'
    if "buckets" in expected:
        bounds = [float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")]
        known = GOLDEN["buckets"].get(expected["buckets"])
        assert bounds == [*(known or request_token_buckets(8192)), math.inf]


def test_no_metric_is_invented() -> None:
    names = {line.split()[2] for line in page(busy_engine()).render().splitlines() if line.startswith("# TYPE")}
    assert names - {"vllm:cache_config_info"} == {expected["name"] for expected in GOLDEN["metrics"]}


def test_cache_config_info_carries_known_fields_as_text() -> None:
    info = families(page(busy_engine()).render())["vllm:cache_config_info"].samples[0]
    assert set(info.labels) - {"engine"} <= set(GOLDEN["cache_config_fields"])
    assert info.labels["block_size"] == "16"
    assert info.labels["num_gpu_blocks"] == str(SETTINGS.num_gpu_blocks)
    assert info.labels["kv_cache_size_tokens"] == str(SETTINGS.kv_tokens)
    assert (info.labels["engine"], info.value) == ("0", 1.0)


def test_numbers_are_the_engines() -> None:
    engine = busy_engine()
    found = families(page(engine).render())
    stats = engine.stats
    assert sample(found, "vllm:prompt_tokens_total") == 3 * 160 + 100
    assert sample(found, "vllm:generation_tokens_total") == stats.generation_tokens
    assert sample(found, "vllm:request_success_total", finished_reason="length") == 3
    assert sample(found, "vllm:admission_rejections_total", reason="max_num_queued_reqs") == 1
    assert sample(found, "vllm:num_requests_running") == 1
    assert sample(found, "vllm:kv_cache_usage_perc") == pytest.approx(engine.kv_usage)
    assert sample(found, "vllm:spec_decode_num_accepted_tokens_per_pos_total", position="0") >= sample(
        found, "vllm:spec_decode_num_accepted_tokens_per_pos_total", position="1"
    )
    assert sample(found, "vllm:time_to_first_token_seconds_count") == 4
    assert sample(found, "vllm:time_to_first_token_seconds_bucket", le="+Inf") == 4
    by_source = [
        sample(found, "vllm:prompt_tokens_by_source_total", source=source)
        for source in ("local_compute", "local_cache_hit", "external_kv_transfer")
    ]
    assert sum(by_source) == sample(found, "vllm:prompt_tokens_total")


def test_speculation_metrics_exist_only_with_speculation() -> None:
    text = page(busy_engine(replace(SETTINGS, speculation=None))).render()
    assert "spec_decode" not in text


def test_release_0_30_lacks_what_it_lacked() -> None:
    text = page(busy_engine(), "0.30.0").render()
    assert "admission_rejections" not in text
    assert "prompt_tokens_cached_by_source" not in text
    assert "vllm:prompt_tokens_cached_total" in text


@pytest.mark.parametrize(("instead", "broken"), [("NaN", math.isnan), ("+Inf", math.isinf)])
def test_a_broken_page_has_one_value_everywhere(instead: str, broken: Callable[[float], bool]) -> None:
    shown = families(page(busy_engine()).render(instead)).values()
    values = [sample.value for family in shown for sample in family.samples]
    assert values
    assert all(broken(value) for value in values)
