"""Checks that the sizes that the simulator computes agree with vLLM's documentation and configurations."""

import pytest

from tierwise_sim.hardware import GIB, GPUS, UnknownGpuError, find_gpu
from tierwise_sim.models import BF16, checkpoint_precision, kv_element_bytes, precision_of, shape_of
from tierwise_sim.settings import EngineSettings, StartupError, default_batch_limits


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 131_072),
        ("meta-llama/Llama-3.3-70B-Instruct", 327_680),
        ("Qwen/Qwen3-32B", 262_144),
        ("Qwen/Qwen3-4B", 147_456),
    ],
)
def test_kv_bytes_per_token_of_known_models(name: str, bytes_per_token: int) -> None:
    shape = shape_of(name)
    assert shape.kv_bytes_per_token(2, 1, 1) == bytes_per_token
    assert shape.kv_bytes_per_token(kv_element_bytes("fp8"), 1, 1) == bytes_per_token / 2


def test_kv_heads_are_replicated_once_tensor_parallelism_exceeds_them() -> None:
    shape = shape_of("8B")
    assert shape.kv_bytes_per_token(2, 8, 1) == shape.kv_bytes_per_token(2, 16, 1) == 131_072 / 8
    assert shape.kv_bytes_per_token(2, 1, 2) == 131_072 / 2


def test_kv_memory_of_qwen3_4b_on_an_l4_is_within_two_per_cent_of_the_documented_size() -> None:
    settings = EngineSettings(
        model="Qwen/Qwen3-4B", shape=shape_of("Qwen3-4B"), precision=BF16, gpu_memory_utilization=0.9
    )
    assert settings.kv_cache_bytes / GIB == pytest.approx(11.47, rel=0.02)
    assert settings.kv_tokens == pytest.approx(83_488, rel=0.02)


def test_an_fp8_8b_is_about_nine_gigabytes() -> None:
    assert EngineSettings().weight_bytes == pytest.approx(9.1e9, rel=0.02)


@pytest.mark.parametrize(
    ("name", "quantization", "expected"),
    [
        ("Qwen/Qwen3-8B", None, "bf16"),
        ("Qwen/Qwen3-8B-FP8", None, "fp8"),
        ("RedHatAI/Llama-3.1-8B-Instruct-quantized.w4a16", None, "w4a16"),
        ("RedHatAI/Llama-3.1-8B-Instruct-quantized.w8a8", None, "w8a8"),
        ("TheBloke/x-AWQ", None, "w4a16"),
        ("nvidia/Llama-3.1-8B-Instruct-NVFP4", None, "nvfp4"),
        ("openai/gpt-oss-120b", None, "mxfp4"),
        ("Qwen/Qwen3-8B", "fp8_per_tensor", "fp8"),
        ("/mnt/models", "awq", "w4a16"),
        ("/mnt/models", "modelopt_fp4", "nvfp4"),
        ("Qwen/Qwen3-8B", "int8_per_channel_weight_only", "bf16"),
    ],
)
def test_the_number_format_follows_checkpoint_and_flag(name: str, quantization: str | None, expected: str) -> None:
    assert precision_of(name, quantization).name == expected


def test_a_plain_name_shows_no_number_format() -> None:
    assert checkpoint_precision("meta-llama/Llama-3.1-8B-Instruct") is None


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        ("Qwen/Qwen3-30B-A3B", 30.0, 3.0),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.7, 12.9),
        ("HuggingFaceTB/SmolLM2-135M", 0.135, 0.135),
        ("/mnt/models", 8.03, 8.03),
    ],
)
def test_sizes_are_read_from_names(name: str, total: float, active: float) -> None:
    shape = shape_of(name)
    assert (shape.params_b, shape.active_b) == pytest.approx((total, active))


def test_given_parameters_win_over_the_name() -> None:
    assert shape_of("Qwen/Qwen3-8B", 70.0).params_b == 70.0
    assert shape_of("Qwen/Qwen3-8B", 70.0).layers == 80


def test_gpu_labels_of_shared_and_partitioned_cards_are_understood() -> None:
    assert find_gpu("NVIDIA-L4-SHARED").product == "NVIDIA-L4"
    assert find_gpu("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb").product == "NVIDIA-A100-SXM4-80GB"
    assert find_gpu("h100-80gb-hbm3").product == "NVIDIA-H100-80GB-HBM3"


def test_an_unknown_gpu_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownGpuError, match=r"'TPU-v5'.*NVIDIA-L4"):
        find_gpu("TPU-v5")


def test_fp8_arithmetic_falls_back_to_bf16_before_ada() -> None:
    assert find_gpu("NVIDIA-A10G").peak_tflops("fp8") == find_gpu("NVIDIA-A10G").bf16
    assert find_gpu("NVIDIA-L4").peak_tflops("fp8") == 2 * find_gpu("NVIDIA-L4").bf16


def test_default_batch_limits_change_silently_between_a100_and_h100() -> None:
    limits = {gpu.product: default_batch_limits(gpu) for gpu in GPUS}
    assert limits["NVIDIA-A100-SXM4-80GB"] == (2048, 256)
    assert limits["NVIDIA-H100-80GB-HBM3"] == (8192, 1024)
    assert limits["NVIDIA-B200"] == (16384, 1024)


def test_weights_that_do_not_fit_end_with_cuda_out_of_memory() -> None:
    settings = EngineSettings(shape=shape_of("70B"), precision=BF16)
    with pytest.raises(StartupError, match=r"^torch\.OutOfMemoryError: CUDA out of memory"):
        settings.check()


def test_a_model_length_that_does_not_fit_names_the_longest_that_does() -> None:
    settings = EngineSettings(max_model_len=131072)
    with pytest.raises(StartupError, match=f"estimated maximum model length is {settings.kv_tokens}"):
        settings.check()


def test_no_room_for_any_block_and_bad_batch_limits_are_refused() -> None:
    with pytest.raises(StartupError, match="No available memory for the cache blocks"):
        EngineSettings(gpu_memory_utilization=0.4).check()
    with pytest.raises(StartupError, match="max_num_batched_tokens"):
        EngineSettings(max_num_batched_tokens=100, max_num_seqs=200).check()


def test_tensor_parallelism_makes_a_70b_fit() -> None:
    settings = EngineSettings(
        shape=shape_of("70B"), precision=BF16, gpu=find_gpu("H100-80GB-HBM3"), tensor_parallel=4, max_model_len=32768
    )
    settings.check()
    assert settings.load_seconds == pytest.approx(53, abs=2)
