"""The models that model_reference.py makes: their shapes, and how each is saved."""

V = 307
AUX_COEF = 0.02

SHAPE = dict(
    vocab_size=V,
    hidden_size=64,
    intermediate_size=112,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    hidden_act="silu",
    rms_norm_eps=1e-5,
    rope_parameters={"rope_theta": 5000.0, "rope_type": "default"},
    max_position_embeddings=128,
    tie_word_embeddings=False,
    bos_token_id=None,
    eos_token_id=None,
)
EXPERTS = dict(num_experts_per_tok=2, router_aux_loss_coef=AUX_COEF, num_hidden_layers=2)
UNGATED = dict(hidden_act="gelu", mlp_bias=False)
QWEN = dict(head_dim=24, rms_norm_eps=1e-6)
QWEN_MOE = dict(num_experts=4, moe_intermediate_size=40, norm_topk_prob=True)

BIASES = dict(attention_bias=True, mlp_bias=True)
QWEN2_MOE = dict(num_experts=4, moe_intermediate_size=40, shared_expert_intermediate_size=56)
THETA = dict(rope_theta=5000.0)
LINEAR = dict(rope_parameters=THETA | dict(rope_type="linear", factor=2.5))
# Wavelengths of 6 to 13000 positions: some kept, some blended, some stretched.
LLAMA3 = dict(
    rope_parameters=THETA
    | dict(
        rope_type="llama3",
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=64,
    )
)
# Frequency 0 of 8 is kept, those from 3 on are stretched.
YARN = dict(
    rope_parameters=THETA
    | dict(
        rope_type="yarn",
        factor=4.0,
        beta_fast=8.0,
        original_max_position_embeddings=64,
    )
)
# As DeepSeek's files state it; of GPT-NeoX' heads a half is turned.
YARN_PART = dict(
    rope_parameters=YARN["rope_parameters"]
    | dict(mscale=1.5, mscale_all_dim=0.5, truncate=False, partial_rotary_factor=0.5)
)
SHARDED = dict(dtype="bfloat16", max_shard_size="60KB")
FUSED = dict(save_original_format=False)
ALL = dict(  # of our own switches
    qkv_bias=True,
    o_bias=True,
    mlp_bias=True,
    gated=False,
    qk_norm="full",
    norm_placement="post",
    norm_topk_prob=False,
    shared_expert_intermediate_size=56,
    logit_multiplier=0.3,
)

NULLS = {"bos_token_id", "eos_token_id", "sliding_window"}
NEOX = dict(
    intermediate_size=144,
    num_key_value_heads=None,
    head_dim=None,
    hidden_act="gelu",
    rms_norm_eps=None,
    layer_norm_eps=1e-5,
    rope_parameters=THETA | dict(rope_type="default", partial_rotary_factor=0.25),
)
NEOX_MIXTURE = dict(  # of our own switches
    gated=False,
    norm_type="layer",
    parallel_residual=True,
    fused_qkv=True,
    num_key_value_heads=4,
    qkv_bias=True,
    o_bias=True,
    mlp_bias=True,
    rope_parameters=THETA | dict(rope_type="default", partial_rotary_factor=0.25),
)

# name: (family, what differs from SHAPE, and how save_pretrained saves it)
CASES = {
    "llama": ("Llama", {}),
    "llama_tied": ("Llama", dict(tie_word_embeddings=True)),
    "arcee": ("Arcee", UNGATED),
    "arcee_tied": ("Arcee", UNGATED | dict(tie_word_embeddings=True)),
    "qwen3": ("Qwen3", QWEN),
    "mixtral": ("Mixtral", EXPERTS | dict(num_local_experts=4)),
    "qwen3_moe": ("Qwen3Moe", QWEN | EXPERTS | QWEN_MOE),
    "annuli_moe": (None, UNGATED | EXPERTS | dict(num_experts=4)),
    "annuli_moe_tied": (
        None,
        UNGATED | EXPERTS | dict(num_experts=5, num_experts_per_tok=3, tie_word_embeddings=True),
    ),
    "llama_biases": ("Llama", BIASES | LLAMA3),
    "llama_sharded": ("Llama", LINEAR | dict(tie_word_embeddings=True), SHARDED),
    "mistral": ("Mistral", dict(sliding_window=None), SHARDED),
    "qwen2": ("Qwen2", {}),
    "qwen3_biases": ("Qwen3", QWEN | LLAMA3 | dict(attention_bias=True, tie_word_embeddings=True)),
    "arcee_relu2": ("Arcee", BIASES | dict(hidden_act="relu2")),
    "olmo2": ("Olmo2", dict(attention_bias=True)),
    "granite": (
        "Granite",
        dict(logits_scaling=4.0, attention_multiplier=0.25, tie_word_embeddings=True),
    ),
    "mixtral_fused": ("Mixtral", EXPERTS | LINEAR | dict(num_local_experts=4), FUSED),
    "qwen2_moe": ("Qwen2Moe", EXPERTS | QWEN2_MOE | dict(num_experts=3, norm_topk_prob=False)),
    "qwen2_moe_fused": (
        "Qwen2Moe",
        EXPERTS | QWEN2_MOE | dict(norm_topk_prob=True, tie_word_embeddings=True),
        FUSED | SHARDED,
    ),
    "qwen3_moe_raw": (
        "Qwen3Moe",
        QWEN | EXPERTS | QWEN_MOE | dict(norm_topk_prob=False, attention_bias=True),
    ),
    "annuli_moe_all": (None, UNGATED | EXPERTS | LLAMA3 | ALL | dict(num_experts=3)),
    "gpt_neox": ("GPTNeoX", NEOX),
    "gpt_neox_serial": (
        "GPTNeoX",
        NEOX
        | dict(
            use_parallel_residual=False,
            attention_bias=False,
            tie_word_embeddings=True,
            rope_parameters=THETA | dict(rope_type="linear", factor=2.5, partial_rotary_factor=1.0),
        ),
    ),
    "llama_yarn": ("Llama", YARN),
    "gpt_neox_yarn": ("GPTNeoX", NEOX | YARN_PART),
    "annuli_moe_neox": (None, UNGATED | EXPERTS | NEOX_MIXTURE | dict(num_experts=3)),
}
