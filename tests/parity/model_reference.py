#!/usr/bin/env python3
"""model_reference.py OUT: what the C++ model is measured against.

For each case a folder under OUT with a tiny random model of transformers (or,
where transformers has no class, of tools/reference/annuli_reference.py) in fp32:

    config.json        as transformers writes it
    case.json          loss coefficients and optimizer settings
    model.safetensors  weights, each expert apart, under the names of the family;
                       or what save_pretrained makes of them with the options of
                       the case: shards of bf16, fused experts
    batch.safetensors  tokens, targets [B, T]; logits [B, T, V]; loss, a scalar
    gradients.safetensors  of that loss, for every weight, under its name
    steps.safetensors  tokens, targets [S, B, T]; losses [S]: AdamW, step by step
    optimizers.safetensors  of some cases, losses [S] on the same batches:
                       muon_keller, muon_moonlight: torch.optim.Muon, its products
                       in fp32, with AdamW for what is no matrix of a block;
                       groups: AdamW with optimizer_reference.GROUPS; decay
                       acts on matrices alone
    documents.safetensors  documents [S, B, T], of each token the first one of its
                       document; losses [S]: AdamW on the same batches, where a
                       token sees its own document and positions count from its
                       beginning; logits [B, T, V] of the first batch
    document_gradients.safetensors  of the first of those losses
    selection_bias/    a mixture with selection biases, as selection_reference.py has it

OUT/stamp is written last and holds what made the rest; if it fits, nothing is
done. Everything here is drawn from fixed seeds.
"""

import copy
import hashlib
import json
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from model_cases import AUX_COEF, CASES, NULLS, SHAPE, V

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "reference"
SOURCES = [
    Path(__file__),
    Path(__file__).parent / "model_cases.py",
    Path(__file__).parent / "optimizer_reference.py",
    Path(__file__).parent / "selection_reference.py",
    TOOLS / "annuli_reference.py",
]

B, T, STEPS = 2, 33, 10
ADAMW = {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}
Z_COEF = 0.01


def stamp():
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update(source.read_bytes())
    versions = [f"{name} {version(name)}" for name in ("torch", "transformers")]
    return "\n".join([digest.hexdigest(), *versions, ""])


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: model_reference.py OUT")
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    marker = out / "stamp"
    if marker.exists() and marker.read_text() == stamp():
        print(f"{out}: up to date")
        return
    marker.unlink(missing_ok=True)
    import torch

    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for seed, (name, (family, changes, *saving)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        config = {k: v for k, v in (SHAPE | changes).items() if v is not None or k in NULLS}
        subject = Transformers(family, config, *saving) if family else Plain(config)
        write_case(out / name, subject)
        print(f"{name}: {len(subject.named('data'))} tensors", flush=True)
    import selection_reference

    torch.manual_seed(selection_reference.SEED)
    selection_reference.write(out / selection_reference.CASE, sys.modules[__name__])
    marker.write_text(stamp())


def draw(name, tensor):
    """Weights at which every part of the model matters: attention that chooses,
    gains that are not 1, biases that are not 0."""
    import torch

    with torch.no_grad():
        if name.endswith(".bias"):
            tensor.normal_(0, 1.0 if "experts" in name else 0.4)
        elif tensor.dim() == 1:
            tensor.normal_(1, 0.2)
        else:
            tensor.normal_(0, 0.2 if "embed" in name else tensor.shape[-1] ** -0.5)


class Transformers:
    """A model of transformers, seen through one expert at a time."""

    def __init__(self, family, config, saving=None):
        import transformers

        settings = getattr(transformers, family + "Config")(**config)
        settings._attn_implementation = settings._experts_implementation = "eager"
        self.model = getattr(transformers, family + "ForCausalLM")(settings).eval()
        self.family = family
        self.mixture = "num_experts_per_tok" in config
        self.config = json.loads(settings.to_json_string(use_diff=False))
        self.config["architectures"] = [family + "ForCausalLM"]
        for name, parameter in self.model.named_parameters():
            draw(name, parameter)
        self.saving = saving
        if saving:
            self.round_to(saving.get("dtype", "float32"))
        self.check_names()

    def round_to(self, dtype):
        """The fp32 model computes with what the file will hold."""
        import torch

        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(parameter.to(getattr(torch, dtype)))

    def save(self, folder):
        if not self.saving:
            (folder / "config.json").write_text(json.dumps(self.config, indent=2))
            return save(folder / "model.safetensors", self.named("data"))
        import torch

        options = dict(self.saving)
        dtype = getattr(torch, options.pop("dtype", "float32"))
        copy.deepcopy(self.model).to(dtype).save_pretrained(folder, **options)
        sharded = (folder / "model.safetensors.index.json").exists()
        assert sharded == ("max_shard_size" in options), "choose another size"

    def parameters(self):
        return list(self.model.parameters())

    def named_parameters(self):
        return dict(self.model.named_parameters())

    def loss_coefficients(self):
        return {
            "router_aux_loss_coef": AUX_COEF if self.mixture else 0.0,
            "router_z_loss_coef": 0.0,
        }

    def forward(self, tokens, documents=None):
        """Logits, what is added to the cross-entropy, the smallest router margin."""
        arguments = {"output_router_logits": True} if self.mixture else {}
        if documents is not None:
            arguments |= of_documents(documents)
        if not self.mixture:
            result = self.model(input_ids=tokens, use_cache=False, **arguments)
            return result.logits, 0.0, float("inf")
        k = self.model.config.num_experts_per_tok
        # The class takes any mask for one of padding, in the loss that it adds.
        result = self.model.model(input_ids=tokens, use_cache=False, **arguments)
        logits = self.model.lm_head(result.last_hidden_state)
        module = sys.modules[type(self.model).__module__]
        aux = module.load_balancing_loss_func(
            result.router_logits, self.model.num_experts, k
        )
        ranked = [r.detach().sort(-1, descending=True).values for r in result.router_logits]
        margin = min((r[:, k - 1] - r[:, k]).min().item() for r in ranked)
        return logits, AUX_COEF * aux, margin

    def named(self, field):
        """{name: tensor} of "data" or "grad", as transformers saves them: it keeps
        the experts of a layer fused in memory and apart on disk."""
        tensors = {}
        for name, parameter in self.model.named_parameters():
            tensor = getattr(parameter, field)
            if name.endswith("experts.gate_up_proj"):
                tensors |= self.split(name, tensor, ["gate", "up"])
            elif name.endswith("experts.down_proj"):
                tensors |= self.split(name, tensor, ["down"])
            elif self.family == "Mixtral":
                tensors[name.replace(".mlp.", ".block_sparse_moe.")] = tensor
            elif self.family == "GPTNeoX":
                tensors[name.replace("lm_head.", "embed_out.")] = tensor
            else:
                tensors[name] = tensor
        return tensors

    def split(self, name, fused, parts):
        prefix = name.rsplit(".", 1)[0]
        words = {part: part + "_proj" for part in parts}
        if self.family == "Mixtral":
            prefix = prefix.replace(".mlp.", ".block_sparse_moe.")
            words = {"gate": "w1", "up": "w3", "down": "w2"}
        return {
            f"{prefix}.{e}.{words[part]}.weight": piece
            for e, expert in enumerate(fused)
            for part, piece in zip(parts, expert.chunk(len(parts)))
        }

    def check_names(self):
        """transformers itself is the judge of `named`."""
        from safetensors.torch import load_file

        with tempfile.TemporaryDirectory() as folder:
            self.model.save_pretrained(folder)
            saved = load_file(Path(folder) / "model.safetensors")
        ours = self.named("data")
        assert saved.keys() == ours.keys(), saved.keys() ^ ours.keys()
        for name, tensor in saved.items():
            assert tensor.equal(ours[name]), name


class Plain:
    """The ungated mixture, which transformers does not have."""

    def __init__(self, config):
        from annuli_reference import Reference

        defaults = {"gated": False, "norm_topk_prob": True}
        self.config = defaults | config | {"model_type": "annuli_moe"}
        self.weights = {name: self.fresh(name, shape) for name, shape in self.shapes()}
        self.reference = Reference(self.config, self.weights)

    def shapes(self):
        c = self.config
        D, ffn = c["hidden_size"], c["intermediate_size"]
        q, kv = (c[f"num_{h}_heads"] * c["head_dim"] for h in ("attention", "key_value"))
        yield "model.embed_tokens.weight", (V, D)
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            post = c.get("norm_placement") == "post"
            if not post:
                yield from self.norm(at + "input_layernorm", D)
            if c.get("fused_qkv"):
                yield from self.projection(at + "self_attn.query_key_value", 3 * q, D, "qkv_bias")
            for part, rows in ({} if c.get("fused_qkv") else {"q": q, "k": kv, "v": kv}).items():
                yield from self.projection(f"{at}self_attn.{part}_proj", rows, D, "qkv_bias")
                if c.get("qk_norm") == "full" and part != "v":
                    yield f"{at}self_attn.{part}_norm.weight", (rows,)
            yield from self.projection(at + "self_attn.o_proj", D, q, "o_bias")
            yield from self.norm(at + "post_attention_layernorm", D)
            yield at + "mlp.gate.weight", (c["num_experts"], D)
            blocks = {f"experts.{e}": ffn for e in range(c["num_experts"])}
            if shared := c.get("shared_expert_intermediate_size"):
                blocks["shared_expert"] = shared
                yield at + "mlp.shared_expert_gate.weight", (1, D)
            for block, width in blocks.items():
                yield from self.projection(f"{at}mlp.{block}.up_proj", width, D, "mlp_bias")
                yield from self.projection(f"{at}mlp.{block}.down_proj", D, width, "mlp_bias")
            if post:
                yield at + "post_feedforward_layernorm.weight", (D,)
        yield from self.norm("model.norm", D)
        if not c["tie_word_embeddings"]:
            yield "lm_head.weight", (V, D)

    def norm(self, name, width):
        yield name + ".weight", (width,)
        if self.config.get("norm_type") == "layer":
            yield name + ".bias", (width,)

    def projection(self, name, rows, columns, bias):
        yield name + ".weight", (rows, columns)
        if self.config.get(bias):
            yield name + ".bias", (rows,)

    def save(self, folder):
        (folder / "config.json").write_text(json.dumps(self.config, indent=2))
        save(folder / "model.safetensors", self.named("data"))

    @staticmethod
    def fresh(name, shape):
        import torch

        tensor = torch.empty(shape, requires_grad=True)
        draw(name, tensor)
        return tensor

    def parameters(self):
        return list(self.weights.values())

    def named_parameters(self):
        return self.weights

    def loss_coefficients(self):
        return {"router_aux_loss_coef": AUX_COEF, "router_z_loss_coef": Z_COEF}

    def forward(self, tokens, documents=None):
        reference = self.reference
        logits = reference.logits(tokens, documents)
        extra = AUX_COEF * reference.balance_loss() + Z_COEF * reference.z_loss()
        return logits, extra, min(r.margin() for r in reference.routings)

    def named(self, field):
        return {name: getattr(tensor, field) for name, tensor in self.weights.items()}


def of_documents(documents):
    """What transformers takes for them: positions, and an additive mask."""
    import torch

    places = torch.arange(documents.shape[1])
    visible = documents[:, :, None] == documents[:, None, :]
    visible = visible & (places[:, None] >= places)
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float).min)
    return {"position_ids": places - documents, "attention_mask": mask[:, None]}


def loss_of(subject, tokens, targets, documents=None):
    import torch.nn.functional as F

    logits, extra, margin = subject.forward(tokens, documents)
    # Between two correct programs router logits differ by about 1e-6.
    assert margin > 1e-5, f"a router margin of {margin}: choose another seed"
    return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten()) + extra


def draw_batches(count):
    import torch

    text = torch.randint(V, (count, B, T + 1))
    return text[..., :-1].contiguous(), text[..., 1:].contiguous()


def draw_documents(count):
    """A document begins at one token of eight."""
    import torch

    begins = torch.rand(count, B, T) < 1 / 8
    return (begins * torch.arange(T)).cummax(-1).values


def write_case(folder, subject):
    import optimizer_reference
    import torch

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    coefficients = subject.loss_coefficients()
    case = coefficients | {"adamw": ADAMW}
    (folder / "case.json").write_text(json.dumps(case, indent=2))
    subject.save(folder)

    tokens, targets = (x[0] for x in draw_batches(1))
    logits, loss = loss_of(subject, tokens, targets)
    check_plain_reference(subject, tokens, logits)
    loss.backward()
    batch = {"tokens": tokens, "targets": targets, "logits": logits, "loss": loss}
    save(folder / "batch.safetensors", batch)
    save(folder / "gradients.safetensors", subject.named("grad"))

    start = [parameter.detach().clone() for parameter in subject.parameters()]

    def restart():
        with torch.no_grad():
            for parameter, before in zip(subject.parameters(), start):
                parameter.copy_(before)

    batches = draw_batches(STEPS)
    losses = train(subject, batches, [torch.optim.AdamW(subject.parameters(), **ADAMW)])
    steps = dict(zip(("tokens", "targets"), batches)) | {"losses": losses}
    save(folder / "steps.safetensors", steps)
    restart()
    write_documents(folder, subject, batches)
    if folder.name not in optimizer_reference.CASES:
        return
    found = {}
    for name, optimizers in optimizer_reference.others(
        subject.named_parameters(), ADAMW
    ):
        restart()
        found[name] = train(subject, batches, optimizers)
    save(folder / "optimizers.safetensors", found)


def write_documents(folder, subject, batches):
    import torch

    documents = draw_documents(STEPS)
    first = [x[0] for x in (*batches, documents)]
    for parameter in subject.parameters():
        parameter.grad = torch.zeros_like(parameter)  # of experts without a token
    logits, loss = loss_of(subject, *first)
    check_plain_reference(subject, first[0], logits, first[2])
    loss.backward()
    save(folder / "document_gradients.safetensors", subject.named("grad"))
    optimizer = torch.optim.AdamW(subject.parameters(), **ADAMW)
    losses = train(subject, (*batches, documents), [optimizer])
    found = {"documents": documents, "losses": losses, "logits": logits}
    save(folder / "documents.safetensors", found)


def forget_gradients(subject):
    for parameter in subject.parameters():
        parameter.grad = None


def train(subject, batches, optimizers):
    import torch

    losses = []
    for batch in zip(*batches):
        forget_gradients(subject)
        _, loss = loss_of(subject, *batch)
        losses.append(loss.item())
        loss.backward()
        # An expert that no token chose has gradient zero and is updated with it
        # (annuli/train/optimizer.h); an optimizer of PyTorch leaves out what has none.
        for parameter in subject.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for optimizer in optimizers:
            optimizer.step()
    return torch.tensor(losses)


def check_plain_reference(subject, tokens, logits, documents=None):
    """transformers judges the plain PyTorch model too."""
    import torch
    from annuli_reference import Reference

    with torch.no_grad():
        plain = Reference(subject.config, subject.named("data"))
        plain = plain.logits(tokens, documents)
        error = ((plain - logits).norm() / logits.norm()).item()
    assert error < 1e-5, f"annuli_reference.py differs by {error}"


def save(path, tensors):
    from safetensors.torch import save_file

    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path)


if __name__ == "__main__":
    sys.path.insert(0, str(TOOLS))
    main()
