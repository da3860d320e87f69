"""The process: `vllm serve MODEL --flags`, played by the engine model.

It behaves as vLLM does at its edges, because those are what an operator has to get right: it listens only
after the model is loaded, a start that cannot work ends with vLLM's last line and status 1, SIGTERM drains for
`--shutdown-timeout` seconds while the server still answers, and a deadline that passes kills what is open: its clients
get an error, or nothing at all and the process waits for them to leave (`abort_mode`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

from aiohttp import web

from tierwise.errors import Invalid
from tierwise_sim import flags
from tierwise_sim.calibrated import read
from tierwise_sim.confidence import Confidence
from tierwise_sim.config import (
    DEFAULT_VERSION,
    OUT_OF_MEMORY,
    PREFIX,
    ConfigError,
    SimConfig,
    build_settings,
    load_config,
)
from tierwise_sim.driver import Driver
from tierwise_sim.engine import Engine
from tierwise_sim.exposition import MetricsPage
from tierwise_sim.http_app import HttpApp
from tierwise_sim.name_lists import refuse_unknown_names, refuse_unknown_values
from tierwise_sim.openai_api import Answering
from tierwise_sim.settings import EngineSettings, StartupError
from tierwise_sim.step_source import step_source

# Between the end of a drain and the end of the process, for the last bytes to reach the clients.
_CLOSE_SECONDS = 1.0


def log(line: str) -> None:
    """One log line on standard output, in vLLM's shape; never a prompt, never a key."""
    stamp = time.strftime("%m-%d %H:%M:%S")
    sys.stdout.write(f"INFO {stamp} [simulated] {line}\n")
    sys.stdout.flush()


def cache_info(settings: EngineSettings, options: argparse.Namespace) -> dict[str, str]:
    """The labels of `vllm:cache_config_info`: the fields of vLLM's CacheConfig that are known here, as text."""
    concurrency = settings.kv_tokens / settings.max_model_len
    return {
        "block_size": str(settings.block_size),
        "user_specified_block_size": str(options.block_size is not None),
        "gpu_memory_utilization": str(settings.gpu_memory_utilization),
        "cache_dtype": options.kv_cache_dtype,
        "num_gpu_blocks_override": str(settings.kv_blocks_override),
        "enable_prefix_caching": str(settings.prefix_caching),
        "prefix_caching_hash_algo": options.prefix_caching_hash_algo or "sha256",
        "num_gpu_blocks": str(settings.num_gpu_blocks),
        "num_cpu_blocks": "None",
        "kv_cache_size_tokens": str(settings.kv_tokens),
        "kv_cache_max_concurrency": str(concurrency),
        "kv_cache_memory_bytes": str(settings.kv_cache_memory_bytes),
        "kv_offloading_size": str(options.kv_offloading_size),
        "kv_offloading_backend": options.kv_offloading_backend,
    }


def _check_environment(environment: Mapping[str, str]) -> None:
    """vLLM's own complaint about the variable that a Service named "vllm" puts into every pod."""
    port = environment.get("VLLM_PORT", "0")
    if not port.isdigit():
        raise StartupError(
            f"ValueError: VLLM_PORT '{port}' appears to be a URI. This may be caused by a Kubernetes service "
            "discovery issue,check the warning in: https://docs.vllm.ai/en/latest/configuration/env_vars.html"
        )


def _check_template(template: str | None) -> None:
    """vLLM's own complaint about a template that is no file and no Jinja."""
    if template is not None and not {"{", "}", "\n"} & set(template) and not Path(template).is_file():
        raise StartupError(
            f"ValueError: The supplied chat template string ({template}) appears path-like, but doesn't exist!"
        )


def _adapter_names(modules: Iterable[str]) -> list[str]:
    """The models that adapters are: written as NAME=PATH or as JSON."""
    return [str(json.loads(each)["name"]) if each.startswith("{") else each.partition("=")[0] for each in modules]


class Process:
    """One simulated engine process, from its parsed command line to its exit status."""

    def __init__(self, options: argparse.Namespace, config: SimConfig, environment: Mapping[str, str]) -> None:
        self._options = options
        self._config = config
        self._environment = environment
        self._keys = tuple(options.api_key or filter(None, [environment.get("VLLM_API_KEY", "")]))
        self._stop = asyncio.Event()

    async def run(self, settings: EngineSettings) -> int:
        """Load, serve until told to stop, drain; returns the exit status."""
        config, options = self._config, self._options
        _check_template(options.chat_template)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        seconds = config.load_seconds if config.load_seconds is not None else settings.load_seconds / config.speed
        log(f"loading {settings.model} on {settings.gpu.product}: {seconds:.1f} s")
        if await self._told_to_stop_within(seconds):
            return 128 + signal.SIGTERM
        if config.fail is not None:
            raise StartupError(OUT_OF_MEMORY if config.fail == "oom" else config.fail, config.fail_exit_code)
        steps = step_source(settings, read(Path(config.calibration)) if config.calibration else None)
        log(f"step times: {steps.source} ({steps.detail})")
        rng = Random(config.seed)  # noqa: S311 - a repeatable run, no secret
        engine = Engine(settings, rng, loop.time(), steps.step_time)
        driver = Driver(engine, loop.time, config.tick_seconds)
        names = (*(options.served_model_name or [settings.model]), *_adapter_names(options.lora_modules or ()))
        details = bool(options.enable_prompt_tokens_details)
        http = HttpApp(
            driver,
            MetricsPage(engine, names[0], config.version, cache_info(settings, options)),
            Answering(
                settings,
                names,
                config.output_tokens,
                config.seed,
                details,
                embeds=options.runner == "pooling",
                stores=self._environment.get("VLLM_ENABLE_RESPONSES_API_STORE", "0") in ("1", "true"),
                skill=config.skill,
                confidence=Confidence(settings.model, config.right_percent, config.confidence_auc, config.seed),
            ),
            config.version,
            config.abort_mode,
            self._keys,
        )
        runner = web.AppRunner(
            http.application(), access_log=None, handler_cancellation=True, shutdown_timeout=_CLOSE_SECONDS
        )
        await runner.setup()
        site = _site(runner, options.host or "0.0.0.0", options.port)  # noqa: S104 - as vLLM does
        await site.start()
        log(
            f"GPU KV cache size: {settings.kv_tokens:,} tokens, Maximum concurrency for "
            f"{settings.max_model_len:,} tokens per request: {settings.kv_tokens / settings.max_model_len:.2f}x"
        )
        log(f"Application startup complete; version {config.version}, listening on port {options.port}")
        pump = asyncio.create_task(driver.run())
        try:
            await self._serve(driver, http, site, pump)
        finally:
            await runner.cleanup()
            pump.cancel()
        return 0

    async def _told_to_stop_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _serve(self, driver: Driver, http: HttpApp, site: web.BaseSite, pump: asyncio.Task[None]) -> None:
        """Until SIGTERM and the end of the drain; a failed pump ends the process with its error."""
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stopping, pump}, return_when=asyncio.FIRST_COMPLETED)
        if pump.done():
            stopping.cancel()
            pump.result()
        http.draining = True
        timeout = self._options.shutdown_timeout
        log(f"shutting down: {driver.open} requests open, draining for up to {timeout} s")
        if not timeout:
            await site.stop()
        try:
            await asyncio.wait_for(driver.drained(), timeout)
        except TimeoutError:
            log(f"shutdown deadline: {driver.open} requests are aborted")
            driver.kill()
        # As vLLM's HTTP server does: a client that hears nothing keeps the process until it leaves, or until SIGKILL.
        await http.answered()


def _site(runner: web.AppRunner, host: str, port: int) -> web.BaseSite:
    """Where it listens. On an IPv6 address as vLLM does it (`create_server_socket`): a socket that takes both families
    where the address is `::`."""
    if ":" not in host:
        return web.TCPSite(runner, host, port)
    listening = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening.bind((host, port))
    return web.SockSite(runner, listening)


def main(arguments: Sequence[str] | None = None) -> int:
    """The `vllm` command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    version = os.environ.get(f"{PREFIX}VERSION", DEFAULT_VERSION)
    options = flags.parse(given, version)
    try:
        refuse_unknown_names(options, version)
        refuse_unknown_values(os.environ, version)
        config = load_config(os.environ, options.model)
        _check_environment(os.environ)
        settings = build_settings(options, config)
        return asyncio.run(Process(options, config, os.environ).run(settings))
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except (ConfigError, Invalid, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
