"""Tiny random models of every family that `annuli grow` reads, made by
transformers: several ratios of heads, key/value heads and feed-forward, tied and
untied, gains and biases moved off their defaults. Everything follows from seeds.
"""

import torch
import transformers

V = 199

BASE = dict(
    vocab_size=V,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=12,
    rms_norm_eps=1e-5,
    max_position_embeddings=128,
    tie_word_embeddings=False,
    initializer_range=0.08,
    bos_token_id=None,
    eos_token_id=None,
)
QWEN3 = dict(head_dim=16, num_attention_heads=6, num_key_value_heads=3, rms_norm_eps=1e-6)
EXPERTS = dict(num_experts_per_tok=2, router_aux_loss_coef=0.0)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)

NEOX = dict(  # neither is a word of the class
    num_key_value_heads=None,
    head_dim=None,
    rms_norm_eps=None,
    hidden_act="gelu",
    rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5),
)

# name: (family, what differs from BASE)
MODELS = {
    "llama": ("Llama", dict(num_key_value_heads=4)),
    "llama_tied_gqa": ("Llama", dict(tie_word_embeddings=True)),
    "llama_mqa": ("Llama", dict(num_key_value_heads=1)),
    "llama_biases": ("Llama", dict(attention_bias=True, mlp_bias=True)),
    "llama3_rope": ("Llama", dict(rope_parameters=LLAMA3)),
    "arcee": ("Arcee", dict(hidden_act="gelu", tie_word_embeddings=True)),
    "qwen2": ("Qwen2", dict(head_dim=None)),
    "qwen3": ("Qwen3", QWEN3),
    "qwen3_tied": ("Qwen3", QWEN3 | dict(tie_word_embeddings=True)),
    "olmo2": ("Olmo2", dict(head_dim=None)),
    "gpt_neox": ("GPTNeoX", NEOX),
    "gpt_neox_serial": (
        "GPTNeoX",
        NEOX | dict(use_parallel_residual=False, tie_word_embeddings=True, attention_bias=False),
    ),
    "mixtral": ("Mixtral", EXPERTS | dict(num_local_experts=4, num_key_value_heads=4)),
    "qwen3_moe": (
        "Qwen3Moe",
        QWEN3 | EXPERTS | dict(num_experts=4, moe_intermediate_size=40, norm_topk_prob=True),
    ),
    "qwen2_moe": (
        "Qwen2Moe",
        EXPERTS
        | dict(
            head_dim=None,
            num_experts=4,
            moe_intermediate_size=40,
            shared_expert_intermediate_size=56,
            norm_topk_prob=False,
        ),
    ),
}
MIXTURES = {"mixtral", "qwen3_moe", "qwen2_moe"}


def make(name, dtype=torch.float32):
    """The model, with gains around 1, biases and routers away from 0."""
    family, differences = MODELS[name]
    settings = {k: v for k, v in (BASE | differences).items() if v is not None or "token" in k}
    config = getattr(transformers, family + "Config")(**settings)
    torch.manual_seed(sum(map(ord, name)))
    model = getattr(transformers, family + "ForCausalLM")(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif key.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif key.endswith("gate.weight") and parameter.shape[0] <= 8:
                parameter.add_(0.5 * torch.randn_like(parameter))
    return model.to(dtype)
