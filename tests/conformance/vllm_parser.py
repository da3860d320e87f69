"""Parses an argument list with vLLM's own command line, and returns what it understood.

Run by a bare interpreter: `vllm_parser.py FOLDER` with the code of a release in FOLDER, argument lists as a JSON
object by name on standard input, answers on standard output. The parser, its checks and the configuration types are
vLLM's; what they import and never call while parsing (PyTorch, transformers, compiled kernels, the executors) is
replaced by stand-ins, as vLLM's documentation build does it, since the real ones take gigabytes and a GPU driver.
Imports nothing of this repository: it runs elsewhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import io
import json
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

REAL = frozenset({"annotated_types", "msgspec", "packaging", "pydantic", "pydantic_core", "regex", "typing_extensions"})
REAL |= {"typing_inspection", "yaml", "vllm"}
# Parts of vLLM that only run models; they compile kernels while they are imported.
NEVER_CALLED = ("vllm._C", "vllm.v1.executor")
VERSION = "9999.0"  # no feature test of a stand-in shall fail for its age


class _Anything(type):
    """The class of stand-in classes: whatever is asked of one is another."""

    def __getattr__(cls, name: str) -> Any:
        return _stand_in(cls.__module__, name)

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__

    def __iter__(cls) -> Any:
        return iter(())

    def __lt__(cls, other: Any) -> bool:
        return False


def _stand_in(module: str, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    body = {
        "__module__": module,
        "__init__": lambda self, *a, **k: None,
        "__init_subclass__": classmethod(lambda cls, **k: None),
        "__call__": lambda self, *a, **k: a[0] if len(a) == 1 and callable(a[0]) else self,
        "__getattr__": lambda self, attribute: _stand_in(module, attribute)(),
        "__class_getitem__": classmethod(lambda cls, item: cls),
        "__get_pydantic_core_schema__": classmethod(lambda cls, source, handler: _any_schema()),
    }
    return _Anything(name, (), body)


def _any_schema() -> Any:
    return importlib.import_module("pydantic_core.core_schema").any_schema()


class _Module(types.ModuleType):
    __version__ = VERSION

    def __getattr__(self, name: str) -> Any:
        if (self.__name__, name) == ("torch.library", "infer_schema"):
            value: Any = lambda *a, **k: "() -> ()"  # noqa: E731 - the one function whose answer is looked at
        else:
            value = VERSION if name == "version" else _stand_in(self.__name__, name)
        setattr(self, name, value)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.wanted = wanted

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if self.wanted(fullname) else None

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Module(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def _missing(name: str) -> bool:
    top = name.partition(".")[0]
    return top not in REAL and top not in sys.stdlib_module_names


def install(folder: str) -> None:
    """Make `import vllm` find the code in `folder`, and everything heavy a stand-in."""
    version = importlib.metadata.version

    def version_or_any(distribution_name: str) -> str:
        try:
            return version(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            return VERSION

    importlib.metadata.version = version_or_any
    os.environ |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    sys.meta_path.insert(0, _Finder(lambda name: name.startswith(NEVER_CALLED)))
    sys.meta_path.append(_Finder(_missing))
    sys.path.insert(0, folder)


def _parser() -> tuple[Any, Any]:
    """`vllm serve`, as vllm/entrypoints/cli/serve.py makes it, and its check of the parsed arguments."""
    argparse_utils = importlib.import_module("vllm.utils.argparse_utils")
    try:
        cli_args = importlib.import_module("vllm.entrypoints.common.cli_args")  # since 0.33
    except ModuleNotFoundError:
        cli_args = importlib.import_module("vllm.entrypoints.launchers.cli_args")
    parser = argparse_utils.FlexibleArgumentParser(prog="vllm")
    cli_args.make_arg_parser(parser.add_subparsers(dest="subparser").add_parser("serve"))
    return parser, cli_args.validate_parsed_serve_args


def _flat(annotation: Any) -> set[str]:
    """The words of nested Literals."""
    return (
        {annotation} if isinstance(annotation, str) else {word for arg in get_args(annotation) for word in _flat(arg)}
    )


def vocabulary(parser: Any) -> dict[str, Any]:
    """What this release knows, from its own tables."""
    serve = parser._subparsers._group_actions[0].choices["serve"]
    speculative = importlib.import_module("vllm.config.speculative")
    quantization = importlib.import_module("vllm.model_executor.layers.quantization")
    online = importlib.import_module("vllm.config.quantization")
    cache = importlib.import_module("vllm.config.cache")
    return {
        "options": sorted(serve._option_string_actions),
        "destinations": {name: action.dest for name, action in serve._option_string_actions.items()},
        "speculation": sorted(_flat(speculative.SpeculativeMethod)),
        "speculation_fields": sorted(speculative.SpeculativeConfig.__dataclass_fields__),
        "quantization": sorted(quantization.QUANTIZATION_METHODS),
        "online_quantization": sorted(online._ONLINE_SHORTHANDS),
        "kv_cache_dtypes": sorted(get_args(cache.CacheDType)),
        "closed_lists": closed_lists(serve),
    }


def closed_lists(serve: Any) -> dict[str, list[str]]:
    """The values that options take, by option: those that the engine looks up in a table of its own when it starts, and
    those that its parser refuses beside."""
    tools = importlib.import_module("vllm.tool_parsers").ToolParserManager
    reasoning = importlib.import_module("vllm.reasoning").ReasoningParserManager
    backends = importlib.import_module("vllm.v1.attention.backends.registry").AttentionBackendEnum
    choices = {name: action.choices for name, action in serve._option_string_actions.items() if action.choices}
    return {
        "--tool-call-parser": sorted(tools.list_registered()),
        "--reasoning-parser": sorted(reasoning.list_registered()),
        "--attention-backend": sorted(backends.__members__),
        **{name: sorted(map(str, values)) for name, values in choices.items() if name.startswith("--")},
    }


def understand(parser: Any, validate: Any, arguments: Sequence[str]) -> dict[str, Any]:
    """What the release understands: {"values": {...}} or {"error": text}."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parsed = parser.parse_args(["serve", *arguments])
            validate(parsed)
            _known_method(parsed.speculative_config or {})
            schedule = (parsed.speculative_config or {}).get("num_speculative_tokens_per_batch_size")
            if schedule is not None:
                dynamic = importlib.import_module("vllm.v1.spec_decode.dynamic.utils")
                dynamic.build_dynamic_sd_schedule_lookup(
                    schedule, parsed.max_num_seqs, parsed.speculative_config["num_speculative_tokens"]
                )
    except (SystemExit, Exception) as error:
        return {"error": (errors.getvalue().strip().splitlines() or [f"{type(error).__name__}: {error}"])[-1]}
    values = {name: _fields(value) for name, value in vars(parsed).items()}
    return {"values": {name: value for name, value in values.items() if _plain(value)}}


def _fields(value: Any) -> Any:
    """A list of vLLM's own values (adapters) as their fields."""
    if isinstance(value, list) and value and all(dataclasses.is_dataclass(each) for each in value):
        return [dataclasses.asdict(each) for each in value]
    return value


def _known_method(config: Mapping[str, Any]) -> None:
    """As SpeculativeConfig checks it, by the type of its own field; the parser itself takes any object."""
    if config.get("method") is not None:
        speculative = importlib.import_module("vllm.config.speculative")
        pydantic = importlib.import_module("pydantic")
        pydantic.TypeAdapter(speculative.SpeculativeMethod).validate_python(config["method"])


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def main(folder: str, lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The answer by name, and under "" what the release knows."""
    install(folder)
    with contextlib.redirect_stdout(sys.stderr):
        parser, validate = _parser()
        answers: dict[str, Any] = {name: understand(parser, validate, arguments) for name, arguments in lists.items()}
        return {"": vocabulary(parser), **answers}


if __name__ == "__main__":
    json.dump(main(sys.argv[1], json.load(sys.stdin)), sys.stdout)
