VLLM_USE_V1=1 vllm serve Qwen/Qwen3-30B-A3B-Instruct-2507-FP8 \
  --served-model-name qwen3 qwen3-30b \
  --tensor-parallel-size 2 --max-model-len 32k --max_num_seqs 64 \
  --kv-cache-dtype fp8 --enable-expert-parallel --reasoning_parser qwen3 \
  --host 0.0.0.0 --port 8000 --api-key not-a-key
