"""The tables about quantization methods say what each release's own classes say: read, since they cannot run here."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conformance.sources import Source
from tierwise.api.modeltier import Engine
from tierwise.engines import Profile, profile
from tierwise.engines.hardware import FP8_ARITHMETIC
from tierwise.engines.methods import CHECKPOINTS, METHODS, SAME, Capability, Method, of_checkpoint

pytestmark = pytest.mark.conformance
QUANTIZATION = "model_executor/layers/quantization"
KERNELS = "model_executor/kernels/linear"
BY_CHANNEL = "fp8_per_channel"  # whose class allows more than its layers do


def number(capability: Capability) -> int:
    """As vLLM writes it: 8.9 is 89."""
    return capability[0] * 10 + capability[1]


class Classes:
    """The configuration classes of a release: which one a name leads to, and what it or a base of it returns."""

    def __init__(self, code: Path) -> None:
        folder = code / "vllm"
        paths = [*(folder / QUANTIZATION).rglob("*.py"), *folder.glob("models/deepseek_v4*/quant_config.py")]
        self.found: dict[str, tuple[Source, ast.ClassDef]] = {}
        for path in sorted(paths):
            source = Source(code, str(path.relative_to(folder)))
            classes = (node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))
            self.found |= {node.name: (source, node) for node in classes}
        table = Source(code, f"{QUANTIZATION}/__init__.py").value("method_to_config", "get_quantization_config")
        assert isinstance(table, ast.Dict)
        pairs = zip(table.keys, table.values, strict=True)
        self.names = {ast.literal_eval(key): ast.unparse(value) for key, value in pairs if key is not None}
        self.names |= {"deepseek_v4_fp8": "DeepseekV4FP8Config", "auto-round": self.names["inc"]}

    def of(self, name: str, online: bool) -> str:
        """The class of a method, by the name in a checkpoint or, `online`, of one that is quantized while loading."""
        return "OnlineQuantizationConfig" if online else self.names.get(name, "OnlineQuantizationConfig")

    def function(self, owner: str, name: str) -> ast.FunctionDef:
        """A function of a class or of the first base that has it."""
        _, node = self.found[owner]
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == name:
                return each
        bases = [ast.unparse(base) for base in node.bases]
        return self.function(next(base for base in bases if base in self.found), name)

    def returned(self, owner: str, name: str) -> ast.expr:
        """What such a function returns: its only return."""
        returns = [node.value for node in ast.walk(self.function(owner, name)) if isinstance(node, ast.Return)]
        assert len(returns) == 1
        assert returns[0] is not None
        return returns[0]


@pytest.fixture(scope="module")
def listed(release: str) -> Profile:
    return profile(Engine(version=f"{release}.0"))


@pytest.fixture(scope="module")
def classes(code: Path) -> Classes:
    return Classes(code)


def every(listed: Profile, classes: Classes) -> Iterator[tuple[str, Method, str]]:
    """Each method with its class: as the spec says it, and as a checkpoint does."""
    for name, method in METHODS.items():
        yield name, method, classes.of(name, name in listed.online_quantization)
    for name in sorted(listed.known_quantization):
        found = of_checkpoint(name)
        assert found is not None, name
        yield name, found, classes.of(name, online=False)


def test_every_method_is_listed(listed: Profile, classes: Classes) -> None:
    assert set(METHODS) == listed.checkpoint_quantization | listed.online_quantization
    assert listed.known_quantization | set(listed.deprecated) >= set(classes.names)
    assert set(CHECKPOINTS) | set(SAME) <= listed.known_quantization


def test_the_least_capability_of_every_method(listed: Profile, classes: Classes) -> None:
    differs = {
        name
        for name, method, owner in every(listed, classes)
        if ast.literal_eval(classes.returned(owner, "get_min_capability")) != number(method.minimum)
    }
    assert differs == {BY_CHANNEL}
    assert METHODS[BY_CHANNEL].minimum == FP8_ARITHMETIC


def test_the_types_of_activations_of_every_method(listed: Profile, classes: Classes) -> None:
    words = {"torch.half": "float16", "torch.float16": "float16", "torch.bfloat16": "bfloat16"}
    words |= {"torch.float32": "float32"}
    for name, method, owner in every(listed, classes):
        types = classes.returned(owner, "get_supported_act_dtypes")
        assert isinstance(types, ast.List)
        said = {words[text] for text in map(ast.unparse, types.elts) if text in words}
        assert said == method.types, name
    checks = Path(classes.found["Fp8Config"][0].path).parents[3] / "config/vllm.py"
    assert "model_config.dtype not in supported_dtypes" in checks.read_text(encoding="utf-8")


def test_what_refuses_the_last_kernel_needs_fp8_arithmetic(classes: Classes) -> None:
    """Below 8.9 only Marlin is left for FP8 by channels, and one online method raises when it gets it."""
    raising = set()
    for owner, (source, node) in classes.found.items():
        if not source.path.match("online/*.py") or "Linear" not in owner:
            continue
        checks = (each for each in ast.walk(node) if isinstance(each, ast.If) and "MarlinFP8" in ast.unparse(each.test))
        raising |= {owner for each in checks if isinstance(each.body[0], ast.Raise)}
    assert raising == {"Fp8PtpcOnlineLinearMethod"}
    refused = ast.unparse(classes.function("Fp8PtpcOnlineMoEMethod", "__init__"))
    assert "Fp8MoeBackend.MARLIN" in refused
    assert "raise ValueError" in refused


def test_whether_plain_fp8_falls_back(listed: Profile, code: Path, classes: Classes) -> None:
    kernels = Source(code, f"{KERNELS}/__init__.py").value("_POSSIBLE_FP8_KERNELS")
    assert isinstance(kernels, ast.Dict)
    pairs = zip(kernels.keys, kernels.values, strict=True)
    order = next(ast.unparse(value) for key, value in pairs if key is not None and ast.unparse(key).endswith(".CUDA"))
    assert order.index("CutlassFP8ScaledMMLinearKernel") < order.index("MarlinFP8ScaledMMLinearKernel")
    supported = Source(code, f"{KERNELS}/scaled_mm/cutlass.py").text("CutlassFP8ScaledMMLinearKernel", "is_supported")
    asks = "cutlass_fp8_supported()" in supported
    assert asks == listed.hardware.plain_fp8_falls_back
    assert asks or "current_platform.is_cuda()" in supported
    # By blocks another list counts, in which each kernel before Marlin asks for more.
    tensor = ast.unparse(classes.function("Fp8PerTensorOnlineLinearMethod", "create_weights"))
    assert "init_fp8_linear_kernel" in tensor
    assert METHODS["fp8_per_tensor"].plain_fp8 is True
    assert METHODS["fp8_per_block"].plain_fp8 is False


def test_deprecated_checkpoints(listed: Profile, code: Path) -> None:
    deprecated = set(Source(code, f"{QUANTIZATION}/__init__.py").assigned("DEPRECATED_QUANTIZATION_METHODS"))
    assert set(listed.deprecated) == deprecated
    assert not listed.known_quantization & deprecated
    assert "--allow-deprecated-quantization" in Source(code, "config/model.py").text("ModelConfig")


def test_the_method_of_one_family_and_what_is_native(code: Path) -> None:
    online = Source(code, f"{QUANTIZATION}/online/nvfp4.py")
    families = {name: method.family for name, method in METHODS.items() if method.family is not None}
    assert online.arguments("is_device_capability_family") == [10 * family for family in families.values()] == [100]
    assert Source(code, "platforms/cuda.py").arguments("has_device_capability", "supports_fp8") == [
        number(FP8_ARITHMETIC)
    ]
    for kind in ("mxfp8", "mxfp4"):
        assert Source(code, f"{KERNELS}/{kind}/flashinfer.py").arguments("has_device_capability") == [100]
    natives = {method.native for method in (*METHODS.values(), *CHECKPOINTS.values())}
    assert natives == {None, FP8_ARITHMETIC, (10, 0)}
    for kind in ("fp8", "fp4"):
        fallback = Source(code, f"{QUANTIZATION}/utils/marlin_utils_{kind}.py")
        assert fallback.arguments("has_device_capability", f"is_{kind}_marlin_supported") == [75]


def test_the_methods_of_the_rocm_build(code: Path, listed: Profile) -> None:
    supported = set(Source(code, "platforms/rocm.py").assigned("supported_quantization"))
    assert {name for name, method in METHODS.items() if method.rocm} == set(METHODS) & supported
    own: Mapping[str, Method] = {name: each for name, each in CHECKPOINTS.items() if name != "auto-round"}
    assert {name for name, method in own.items() if method.rocm} == set(own) & supported
    kernels = Source(code, f"{KERNELS}/__init__.py")
    for table, ours in (("NVFP4", "modelopt_fp4"), ("MXFP8", "mxfp8"), ("MXFP4", "mxfp4")):
        value = kernels.value(f"_POSSIBLE_{table}_KERNELS")
        assert isinstance(value, ast.Dict)
        pairs = zip(value.keys, value.values, strict=True)
        kernels_of = {ast.unparse(key): ast.unparse(each) for key, each in pairs if key is not None}
        assert "Emulation" in kernels_of["PlatformEnum.ROCM"]
        assert not METHODS[ours].rocm_native
