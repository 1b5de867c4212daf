"""The model in plain PyTorch: an independent second opinion on its forward pass.

Reads any of our .pt files. Written from the formulas, with neither our C++ nor
transformers: dense and mixture, gated and ungated, grouped-query attention, q/k
norms of each head or of all together, norms before or after a block, LayerNorm,
attention and feed-forward one after the other or beside each other, q, k and v
apart or in one tensor, biases, shared experts, selection biases, tied and untied
head, stretched rotary positions over all or a part of a head. The mixture is the
textbook sum of gates times expert outputs. Gradients flow through everything.

Letters: B batch, T tokens, D hidden_size, H heads, K kv heads, E experts,
N = B * T, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F

# What families call the parts: embedding, layers, last norm, head; within a layer
# q, k and v in one, and o; the feed-forward's parts.
NAMES = {
    "gpt_neox": (
        ("gpt_neox.embed_in", "gpt_neox.layers", "gpt_neox.final_layer_norm", "embed_out"),
        ("attention.query_key_value", "attention.dense"),
    ),
    None: (
        ("model.embed_tokens", "model.layers", "model.norm", "lm_head"),
        ("self_attn.query_key_value", "self_attn.o_proj"),
    ),
}
# Mixtral's own words for the parts of an expert.
EXPERT_NAMES = {
    "mixtral": ("block_sparse_moe", "w1", "w3", "w2"),
    "gpt_neox": ("mlp", "no gate", "dense_h_to_4h", "dense_4h_to_h"),
    None: ("mlp", "gate_proj", "up_proj", "down_proj"),
}


def load_checkpoint(path):
    """(config, weights) of a .pt file; tensors stay on disk until they are used."""
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return content["config"], content["model"]


def rms_norm(x, gain, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gain


def layer_norm(x, gain, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return rms_norm(centred, gain, eps) + bias


def frequencies(rope, d, dtype):
    """[d / 2], in radians per position, as rope_type says."""
    f = float(rope["rope_theta"]) ** (-torch.arange(0, d, 2).to(dtype) / d)
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        return f / rope["factor"]
    if kind == "llama3":
        # How often a frequency turns within the original length decides.
        turns = rope["original_max_position_embeddings"] * f / (2 * torch.pi)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return f * (kept + (1 - kept) / rope["factor"])
    if kind == "yarn":
        low, high = (index_of(rope, d, rope.get(key) or turns)
                     for key, turns in (("beta_fast", 32), ("beta_slow", 1)))
        if rope.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, d - 1)
        index = torch.arange(d // 2).to(dtype)
        stretched = ((index - low) / max(high - low, 0.001)).clamp(0, 1)
        return f * (1 - stretched + stretched / rope["factor"])
    assert kind == "default", kind
    return f


def index_of(rope, d, turns):
    """Where, among the d / 2 frequencies, one would stand that turns so often within
    the original length."""
    length = rope["original_max_position_embeddings"]
    return d * math.log(length / (2 * math.pi * turns)) / (2 * math.log(rope["rope_theta"]))


def amplitude(rope):
    """What yarn multiplies cosines and sines with."""
    if rope.get("rope_type") != "yarn":
        return 1.0
    if rope.get("attention_factor") is not None:
        return rope["attention_factor"]
    grown = lambda share: 0.1 * share * math.log(max(rope["factor"], 1)) + 1
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return grown(rope["mscale"]) / grown(rope["mscale_all_dim"])
    return grown(1)


def rotate(x, rope, positions):
    """Rotary positions [B, T] on x [B, T, heads, width]: the first d entries of
    a head are turned, i is paired with i + d/2."""
    d = int(x.shape[3] * rope.get("partial_rotary_factor", 1))
    angle = positions.to(x.dtype)[:, :, None] * frequencies(rope, d, x.dtype)
    cos, sin = (amplitude(rope) * turned[:, :, None, :] for turned in (angle.cos(), angle.sin()))
    a, b, rest = x[..., : d // 2], x[..., d // 2 : d], x[..., d:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)


class Routing:
    """What one layer's router did: logits [N, E], gates and experts [N, k]. Experts
    are chosen by probability plus `bias` [E], where there is one; gates are
    probabilities alone."""

    def __init__(self, logits, k, renormalise, bias=None):
        self.logits, self.bias = logits, bias
        self.probabilities = logits.softmax(-1)
        scores = self.probabilities if bias is None else self.probabilities.detach() + bias
        self.experts = scores.topk(k, dim=-1).indices
        top = self.probabilities.gather(-1, self.experts)
        self.gates = top / top.sum(-1, keepdim=True) if renormalise else top

    def margin(self):
        """Smallest gap between the last chosen logit and the first left out; with a
        bias, between what experts were chosen by."""
        k, E = self.experts.shape[1], self.logits.shape[1]
        if k == E:
            return float("inf")
        by = self.logits if self.bias is None else self.probabilities + self.bias
        ranked = by.detach().sort(-1, descending=True).values
        return (ranked[:, k - 1] - ranked[:, k]).min().item()


class Reference:
    """config: our config.json as a dict; weights: {name: tensor}.

    After a forward pass `routings` holds one Routing per layer of a mixture.
    """

    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.routings = []
        family = config.get("model_type")
        self.names = EXPERT_NAMES.get(family, EXPERT_NAMES[None])
        self.activation = {
            "gelu": F.gelu,
            "silu": F.silu,
            "relu2": lambda x: F.relu(x).square(),
        }[config["hidden_act"]]
        self.parts, self.of_attention = NAMES.get(family, NAMES[None])
        self.eps = config["layer_norm_eps" if family == "gpt_neox" else "rms_norm_eps"]
        self.parallel = config.get("parallel_residual", config.get("use_parallel_residual"))
        rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
        self.rope = {
            "rope_theta": config.get("rope_theta", config.get("rotary_emb_base")),
            "partial_rotary_factor": config.get("rotary_pct", 1),
        } | rope
        self.multiplier = config.get("logit_multiplier", 1) / config.get("logits_scaling", 1)
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.num_experts = config.get("num_local_experts") or config.get("num_experts") or 0

    def weight(self, name):
        return self.widened(name + ".weight")

    def widened(self, name):
        value = self.weights[name]
        return value if value.dtype == torch.float64 else value.float()

    def linear(self, x, name):
        has_bias = name + ".bias" in self.weights
        return F.linear(x, self.weight(name), self.widened(name + ".bias") if has_bias else None)

    def logits(self, tokens, documents=None):
        """[B, T] int64 -> [B, T, V]. `documents`: [B, T], of each token the first
        one of its document; a token sees no other, and positions count from there."""
        self.routings = []
        self.documents = torch.zeros_like(tokens) if documents is None else documents
        embedding, layers, last, head = self.parts
        table = self.weight(embedding)
        x = F.embedding(tokens, table)
        for layer in range(self.config["num_hidden_layers"]):
            x = self.block(x, f"{layers}.{layer}.")
        x = self.norm(x, last)
        tied = self.config["tie_word_embeddings"]
        return F.linear(x, table if tied else self.weight(head)) * self.multiplier

    def norm(self, x, name):
        if name + ".bias" in self.weights:
            return layer_norm(x, self.weight(name), self.widened(name + ".bias"), self.eps)
        return rms_norm(x, self.weight(name), self.eps)

    def block(self, x, at):
        if at + "input_layernorm.weight" in self.weights:
            y = self.attention(self.norm(x, at + "input_layernorm"), at)
            if self.parallel:
                return x + y + self.inner(self.norm(x, at + "post_attention_layernorm"), at)
            x = x + y
            return x + self.inner(self.norm(x, at + "post_attention_layernorm"), at)
        y = self.attention(x, at)
        x = x + self.norm(y, at + "post_attention_layernorm")
        return x + self.norm(self.inner(x, at), at + "post_feedforward_layernorm")

    def inner(self, x, at):
        if self.num_experts:
            return self.mixture(x, at + self.names[0])
        return self.feed_forward(x, at + "mlp.")

    def attention(self, x, at):
        B, T, _ = x.shape
        together, out = (at + name for name in self.of_attention)
        if together + ".weight" in self.weights:
            y = self.linear(x, together).view(B, T, self.heads, 3, self.head_dim)
            q, k, v = y.unbind(3)
        else:
            q = self.heads_of(x, at + "self_attn.q", self.heads)
            k = self.heads_of(x, at + "self_attn.k", self.kv_heads)
            v = self.heads_of(x, at + "self_attn.v", self.kv_heads)
        group = self.heads // self.kv_heads
        positions = torch.arange(T) - self.documents
        q = rotate(q, self.rope, positions)
        k = rotate(k, self.rope, positions).repeat_interleave(group, dim=2)
        v = v.repeat_interleave(group, dim=2)
        scores = torch.einsum("bthd,bshd->bhts", q, k) / self.head_dim**0.5
        hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
        hidden = hidden | (self.documents[:, :, None] != self.documents[:, None, :])
        shares = scores.masked_fill(hidden[:, None], float("-inf")).softmax(-1)
        mixed = torch.einsum("bhts,bshd->bthd", shares, v).reshape(B, T, -1)
        return self.linear(mixed, out)

    def heads_of(self, x, at, heads):
        y = self.linear(x, at + "_proj")
        apart = (*y.shape[:2], heads, self.head_dim)
        if at + "_norm.weight" not in self.weights:
            return y.view(apart)
        whole = self.weights[at + "_norm.weight"].shape[0] == y.shape[2] > self.head_dim
        return self.norm(y if whole else y.view(apart), at + "_norm").view(apart)

    def feed_forward(self, x, at):
        _, gate, up, down = self.names
        inner = self.linear(x, at + up)
        if at + gate + ".weight" in self.weights:
            inner = self.activation(self.linear(x, at + gate)) * inner
        else:
            inner = self.activation(inner)
        return self.linear(inner, at + down)

    def mixture(self, x, at):
        rows = x.reshape(-1, x.shape[-1])  # [N, D]
        logits = F.linear(rows, self.weight(at + ".gate"))
        renormalise = self.config.get("norm_topk_prob", True)
        name = at + ".gate.e_score_correction_bias"
        bias = self.widened(name) if name in self.weights else None
        routing = Routing(logits, self.config["num_experts_per_tok"], renormalise, bias)
        self.routings.append(routing)
        y = torch.zeros_like(rows)
        for e in range(self.num_experts):
            row, rank = (routing.experts == e).nonzero(as_tuple=True)
            if len(row) == 0:
                continue
            out = self.feed_forward(rows[row], f"{at}.experts.{e}.")
            y = y.index_add(0, row, routing.gates[row, rank, None] * out)
        if at + ".shared_expert_gate.weight" in self.weights:
            share = self.linear(rows, at + ".shared_expert_gate").sigmoid()
            y = y + share * self.feed_forward(rows, at + ".shared_expert.")
        return y.view_as(x)

    def balance_loss(self):
        """Switch's, over all layers at once: E * sum_e share_e * probability_e."""
        chosen = torch.cat([r.experts for r in self.routings])  # [L * N, k]
        probabilities = torch.cat([r.probabilities for r in self.routings])
        hits = F.one_hot(chosen, self.num_experts).to(probabilities.dtype)
        share = hits.sum(1).mean(0)  # sums to k
        return self.num_experts * (share * probabilities.mean(0)).sum()

    def z_loss(self):
        """Mean over layers and tokens of logsumexp(router logits)^2."""
        logits = torch.cat([r.logits for r in self.routings])
        return logits.logsumexp(-1).square().mean()
