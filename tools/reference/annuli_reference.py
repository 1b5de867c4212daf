"""The model in plain PyTorch: an independent second opinion on its forward pass.

Reads any of our .pt files. Written from the formulas, with neither our C++ nor
transformers: dense and mixture, gated and ungated, grouped-query attention,
per-head q/k norms, tied and untied head. The mixture is the textbook sum of
renormalised gates times expert outputs. Gradients flow through everything.

Letters: B batch, T tokens, D hidden_size, H heads, K kv heads, E experts,
N = B * T, V vocabulary.
"""

import torch
import torch.nn.functional as F

# Mixtral's own words for the parts of an expert.
EXPERT_NAMES = {
    "mixtral": ("block_sparse_moe", "w1", "w3", "w2"),
    None: ("mlp", "gate_proj", "up_proj", "down_proj"),
}


def load_checkpoint(path):
    """(config, weights) of a .pt file; tensors stay on disk until they are used."""
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return content["config"], content["model"]


def rms_norm(x, gain, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gain


def rotate(x, theta):
    """Rotary positions 0 .. T-1 on x [B, T, heads, d]; i is paired with i + d/2."""
    T, d = x.shape[1], x.shape[3]
    exponent = torch.arange(0, d, 2).to(x.dtype) / d
    angle = torch.arange(T).to(x.dtype)[:, None] * (1 / theta**exponent)
    cos, sin = angle.cos()[None, :, None, :], angle.sin()[None, :, None, :]
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Routing:
    """What one layer's router did: logits [N, E], gates and experts [N, k]."""

    def __init__(self, logits, k):
        self.logits = logits
        self.probabilities = logits.softmax(-1)
        top, self.experts = self.probabilities.topk(k, dim=-1)
        self.gates = top / top.sum(-1, keepdim=True)

    def margin(self):
        """Smallest gap between the last chosen logit and the first left out."""
        k, E = self.experts.shape[1], self.logits.shape[1]
        if k == E:
            return float("inf")
        ranked = self.logits.detach().sort(-1, descending=True).values
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
        self.activation = {"gelu": F.gelu, "silu": F.silu}[config["hidden_act"]]
        self.eps = config["rms_norm_eps"]
        rope = config.get("rope_parameters") or config
        self.theta = float(rope["rope_theta"])
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.num_experts = config.get("num_local_experts") or config.get("num_experts") or 0

    def weight(self, name):
        value = self.weights[name + ".weight"]
        return value if value.dtype == torch.float64 else value.float()

    def logits(self, tokens):
        """[B, T] int64 -> [B, T, V]."""
        self.routings = []
        table = self.weight("model.embed_tokens")
        x = F.embedding(tokens, table)
        for layer in range(self.config["num_hidden_layers"]):
            x = self.block(x, f"model.layers.{layer}.")
        x = rms_norm(x, self.weight("model.norm"), self.eps)
        tied = self.config["tie_word_embeddings"]
        return F.linear(x, table if tied else self.weight("lm_head"))

    def block(self, x, at):
        gain = self.weight(at + "input_layernorm")
        x = x + self.attention(rms_norm(x, gain, self.eps), at + "self_attn.")
        gain = self.weight(at + "post_attention_layernorm")
        normed = rms_norm(x, gain, self.eps)
        if self.num_experts:
            return x + self.mixture(normed, at + self.names[0])
        return x + self.feed_forward(normed, at + "mlp.")

    def attention(self, x, at):
        B, T, _ = x.shape
        q = F.linear(x, self.weight(at + "q_proj")).view(B, T, self.heads, -1)
        k = F.linear(x, self.weight(at + "k_proj")).view(B, T, self.kv_heads, -1)
        v = F.linear(x, self.weight(at + "v_proj")).view(B, T, self.kv_heads, -1)
        if at + "q_norm.weight" in self.weights:
            q = rms_norm(q, self.weight(at + "q_norm"), self.eps)
            k = rms_norm(k, self.weight(at + "k_norm"), self.eps)
        group = self.heads // self.kv_heads
        q = rotate(q, self.theta)
        k = rotate(k, self.theta).repeat_interleave(group, dim=2)
        v = v.repeat_interleave(group, dim=2)
        scores = torch.einsum("bthd,bshd->bhts", q, k) / self.head_dim**0.5
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        shares = scores.masked_fill(future, float("-inf")).softmax(-1)
        mixed = torch.einsum("bhts,bshd->bthd", shares, v).reshape(B, T, -1)
        return F.linear(mixed, self.weight(at + "o_proj"))

    def feed_forward(self, x, at):
        _, gate, up, down = self.names
        inner = F.linear(x, self.weight(at + up))
        if at + gate + ".weight" in self.weights:
            inner = self.activation(F.linear(x, self.weight(at + gate))) * inner
        else:
            inner = self.activation(inner)
        return F.linear(inner, self.weight(at + down))

    def mixture(self, x, at):
        rows = x.reshape(-1, x.shape[-1])  # [N, D]
        logits = F.linear(rows, self.weight(at + ".gate"))
        routing = Routing(logits, self.config["num_experts_per_tok"])
        self.routings.append(routing)
        y = torch.zeros_like(rows)
        for e in range(self.num_experts):
            row, rank = (routing.experts == e).nonzero(as_tuple=True)
            if len(row) == 0:
                continue
            out = self.feed_forward(rows[row], f"{at}.experts.{e}.")
            y = y.index_add(0, row, routing.gates[row, rank, None] * out)
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
