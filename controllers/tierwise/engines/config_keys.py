"""Lists the names under which config.json files store sizes.

vLLM's own names, in its order (transformers_utils/config.py CONFIG_FIELD_ALIASES and model_arch_config_convertor.py),
with those that transformers renames for old files. One table, since a size that one reader finds under a name and
another does not makes two models of one file. `num_heads` is not among them: state-space models use it for something
that no tensor parallelism divides.
"""

from __future__ import annotations

LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head")
KV_HEADS = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
HEAD_DIM = ("head_dim", "hidden_size_per_head")
EXPERTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
SHARED_EXPERTS = ("n_shared_experts", "moe_num_shared_experts")
CONTEXT = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
DRAFT_LAYERS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "n_predict")
