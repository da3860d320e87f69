"""Lists what each quantization method needs of a GPU and of the number type.

Read in the sources of vLLM 0.30.0, 0.32.0 and 0.33.0 and compared with them again by the test-suite
(tests/conformance/test_methods.py): `get_min_capability` and `get_supported_act_dtypes` of the methods' classes, the
kernels that they choose, `supported_quantization` of the ROCm platform. Capabilities compare as (major, minor).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

Capability = tuple[int, int]

# Types of activations that a method takes (config/vllm.py `_get_quantization_config` ends the engine with others).
SIXTEEN_BITS = frozenset({"float16", "bfloat16"})
ANY_TYPE = SIXTEEN_BITS | {"float32"}
BFLOAT16 = frozenset({"bfloat16"})


@dataclass(frozen=True, slots=True)
class Method:
    """What a quantization method needs: `minimum` to start, `native` for its own arithmetic (below it the weights are
    unpacked and computed in 16 bits; None: that is how the method always works), `family` when it runs on GPUs of one
    major capability alone. `bits` of a quantized weight at least, `types` of its activations."""

    minimum: Capability
    bits: float
    native: Capability | None = None
    family: int | None = None
    types: frozenset[str] = SIXTEEN_BITS
    rocm: bool = True
    rocm_native: bool = True  # MI300X (gfx942) has FP8 arithmetic and none for the formats of 4 bits and MX
    experts_only: bool = False  # only the experts of a mixture-of-experts model become smaller
    four_bits: bool = False  # where the checkpoint does not say how many bits it has
    # Whether it computes FP8 by whole tensors or channels, which 0.30 cannot below 8.9; None: the checkpoint decides.
    plain_fp8: bool | None = False


# By the names in the spec. Kernels are built for 7.5 and above, so a lower minimum of the method's own does not help.
METHODS: Mapping[str, Method] = {
    "fp8_per_tensor": Method((7, 5), 8, native=(8, 9), plain_fp8=True),
    # Its class allows 7.5 and then refuses the only kernel that is left below 8.9 (Fp8PtpcOnlineLinearMethod).
    "fp8_per_channel": Method((8, 9), 8),
    "fp8_per_block": Method((7, 5), 8, native=(8, 9)),
    "mxfp8": Method((7, 5), 8.25, native=(10, 0), rocm_native=False),
    "mxfp4": Method((7, 5), 4.25, native=(10, 0), rocm_native=False, four_bits=True),
    "int8_per_channel_weight_only": Method((7, 5), 8, rocm=False, experts_only=True),
    "nvfp4_per_token": Method((7, 5), 4.5, family=10, rocm=False, experts_only=True, four_bits=True),
    "compressed-tensors": Method((7, 0), 4, types=ANY_TYPE),
    "awq": Method((7, 5), 4, four_bits=True),
    "gptq": Method((6, 0), 2, four_bits=True),
    "fp8": Method((7, 5), 8, native=(8, 9), plain_fp8=None),
    "modelopt": Method((8, 0), 8, native=(8, 9), plain_fp8=None),
    "modelopt_fp4": Method((7, 5), 4.5, native=(10, 0), rocm_native=False, four_bits=True),
    "quark": Method((7, 0), 4),
    "torchao": Method((7, 5), 1, types=ANY_TYPE),
}
# What a checkpoint calls its method -> what the spec calls it, where the engine takes one for the other.
SAME: Mapping[str, str] = {
    "auto_awq": "awq",
    "auto_gptq": "gptq",
    "awq_marlin": "awq",
    "deepseek_v4_fp8": "fp8",
    "gpt_oss_mxfp4": "mxfp4",
    "gptq_marlin": "gptq",
}
_MXFP4 = replace(METHODS["mxfp4"], minimum=(8, 0), types=BFLOAT16)
_MXFP8 = replace(METHODS["mxfp8"], minimum=(8, 0), types=BFLOAT16)
# By the names in a checkpoint, where they are another class than the spec's, or only a checkpoint has them.
CHECKPOINTS: Mapping[str, Method] = {
    "auto-round": Method((6, 0), 1),
    "deepseek_v4_fp8": Method((7, 5), 4.25, native=(8, 9)),  # experts of 4 bits
    "experts_int8": Method((8, 0), 8, rocm=False),
    "gpt_oss_mxfp4": _MXFP4,
    "humming": Method((7, 5), 1, rocm=False),
    "inc": Method((6, 0), 1),
    "modelopt_mixed": Method((7, 5), 4, plain_fp8=None),
    "modelopt_mxfp8": _MXFP8,
    "moe_wna16": Method((7, 0), 4, rocm=False),
    "mxfp4": _MXFP4,
    "mxfp8": _MXFP8,
    "online": Method((7, 5), 1),
}


def of_checkpoint(name: str) -> Method | None:
    """The method that a checkpoint names as its own; None when nothing is known of it."""
    return CHECKPOINTS.get(name) or METHODS.get(SAME.get(name, name))


def method_in_use(said: str, checkpoint: str) -> tuple[str, Method | None]:
    """What the spec says and what the checkpoint says of itself ("" when it is not quantized or not known): the name to
    speak of, and what it needs. A checkpoint knows its own method, whatever is said."""
    if not checkpoint:
        return said, METHODS.get(said)
    return SAME.get(checkpoint, checkpoint), of_checkpoint(checkpoint)
