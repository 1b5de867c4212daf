"""GGUF files for tests: rewritten with other keys, with blocks, and damaged."""

import struct

import gguf
import numpy

TABLES = {"lm_head.weight": "model.embed_tokens.weight", "embed_out.weight": "gpt_neox.embed_in.weight"}
PARTS = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}


def keys(path):
    fields = gguf.GGUFReader(path).fields.values()
    return {f.name: f.contents() for f in fields if not f.name.startswith("GGUF.")}


def rewrite(source, target, keep=lambda key: True, change={}, tensor=None):
    """Copies keys and tensors; `tensor(t)` gives (data, type) in a tensor's place."""
    reader = gguf.GGUFReader(source)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        name = field.name
        if name.startswith("GGUF.") or name == "general.architecture" or not keep(name):
            continue
        value = change.get(name, field.contents())
        if value == []:  # of `bytes`, which has no merges; the writer has no empty lists
            continue
        kinds = field.types
        if kinds[0] == gguf.GGUFValueType.ARRAY:
            kind = kinds[1] if len(kinds) > 1 else gguf.GGUFValueType.STRING  # of none
            writer.add_key_value(name, value, kinds[0], sub_type=kind)
        else:
            writer.add_key_value(name, value, kinds[0])
    for one in reader.tensors:
        data, kind = tensor(one) if tensor else (one.data, one.tensor_type)
        writer.add_tensor(one.name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def random_blocks(rng, shape, kind):
    """Blocks of any codes with scales of which the numbers are about 0.05."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = int(numpy.prod(shape)) // block
    blocks = rng.integers(0, 256, (count, size), dtype=numpy.uint8)
    places = {"Q4_0": [0], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}[kind.name]
    step = {"Q4_0": 8e-3, "Q8_0": 5e-4, "Q4_K": 1e-4, "Q5_K": 5e-5, "Q6_K": 2e-5}[kind.name]
    for i, place in enumerate(places):
        scale = step * (8 if i else 1) * rng.uniform(0.5, 1.5, (count, 1))
        blocks[:, place:place + 2] = scale.astype(numpy.float16).view(numpy.uint8)
    return blocks.reshape(*shape[:-1], shape[-1] // block * size)


def quantise(source, target, kinds):
    """Gives the matrices these types in turn; the numbers that they then have."""
    rng, numbers, turn = numpy.random.default_rng(3), {}, 0

    def tensor(one):
        nonlocal turn
        shape = tuple(int(size) for size in reversed(one.shape))
        if len(shape) < 2:
            numbers[one.name] = numpy.array(one.data)
            return one.data, one.tensor_type
        kind = gguf.GGMLQuantizationType[kinds[turn % len(kinds)]]
        turn += 1
        if kind.name == "F16":
            data = numpy.array(one.data).astype(numpy.float16)
            numbers[one.name] = data.astype(numpy.float32)
        elif kind.name == "BF16":
            data = gguf.quants.quantize(numpy.array(one.data), kind)
            numbers[one.name] = gguf.quants.dequantize(data, kind)
        else:
            data = random_blocks(rng, shape, kind)
            numbers[one.name] = gguf.quants.dequantize(data, kind)
        return data, kind

    # llama.cpp wants merges; one that nothing of `bytes` takes part in.
    rewrite(source, target, tensor=tensor, change={"tokenizer.ggml.merges": ["aa bb"]})
    return {name: numpy.asarray(x, numpy.float32) for name, x in numbers.items()}


def table_name(name):
    whole = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    stem, end = name.rsplit(".", 1)
    if stem in whole:
        return f"{whole[stem]}.{end}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{PARTS[part]}.{end}"


def heads_of(name):
    """Heads whose rows stand in another order, of the model of blocks; 0: none do."""
    return 4 if ".attn_q." in name else 2 if ".attn_k." in name else 0


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def text(value):
    return u64(len(value)) + value.encode()


def key(name, value):
    """The bytes of a key of 32 bits without a sign."""
    return text(name) + u32(4) + u32(value)


def damages(good):
    """name: (bytes, words of the refusal)."""

    def put(place, new):
        return good[:place] + new + good[place + len(new):]

    def swap(old, new):
        assert old in good, old
        return good.replace(old, new, 1)

    def tensor(name):  # where what follows a tensor's name begins
        place = good.index(text(name) + u32(2)) if text(name) + u32(2) in good else (
            good.index(text(name) + u32(1)))
        return place + len(text(name))

    down = tensor("blk.0.ffn_down.weight")
    norm = tensor("blk.0.attn_norm.weight")
    first_key = 24  # behind magic, version, counts
    tokens = good.index(text("tokenizer.ggml.tokens")) + len(text("tokenizer.ggml.tokens"))
    tensors, keys_ = struct.unpack("<QQ", good[8:24])
    shape = "llama.block_count"
    return {
        "empty": (good[:4], "truncated"),
        "magic alone": (good[:6], "truncated"),
        "cut in a key": (good[:200], "truncated"),
        "cut in the tokens": (good[:tokens + 500], "truncated"),
        "cut in a tensor's name": (good[:down - 5], "truncated"),
        "cut in the data": (good[:-200], "truncated"),
        "bytes left over": (good + bytes(64), "after the last tensor"),
        "version 1": (put(4, u32(1)), "version 1"),
        "version 2": (put(4, u32(2)), "version 2"),
        "version 4": (put(4, u32(4)), "version 4"),
        "big-endian": (put(4, struct.pack(">I", 3)), "big-endian"),
        "too many tensors": (put(8, u64(1 << 60)), "tensors in a file"),
        "one tensor too few": (put(8, u64(tensors - 1)), "bytes after the last tensor"),
        "too many keys": (put(16, u64(1 << 62)), "keys in a file"),
        "a key of no length": (put(first_key, u64(0)), "expected 1 to 65535"),
        "a key of half the memory": (put(first_key, u64(1 << 63)), "expected 1 to 65535"),
        "a key twice": (swap(text("general.type"), text("general.name")), "twice"),
        "a type of no value": (swap(text(shape) + u32(4), text(shape) + u32(13)), "type 13"),
        "an array too long": (put(tokens + 8, u64(1 << 61)), "elements where"),
        "an array of arrays": (put(tokens + 4, u32(9)), "array of arrays"),
        "a token too long": (put(tokens + 16, u64(1 << 62)), "truncated"),
        "a number in a text's place": (
            swap(text("general.architecture") + u32(8), text("general.architecture") + u32(10)),
            ""),
        "a flag that is none": (
            swap(text("tokenizer.ggml.add_bos_token") + u32(7) + b"\0",
                 text("tokenizer.ggml.add_bos_token") + u32(7) + b"\7"), "true or false"),
        "no dimensions": (put(norm, u32(0)), "0 dimensions"),
        "five dimensions": (put(norm, u32(5)), "5 dimensions"),
        "a dimension of 0": (put(down + 4, u64(0)), "dimension of 0"),
        "a product that overflows": (put(down + 4, u64(1 << 40) + u64(1 << 40)), "impossible"),
        "a negative dimension": (put(down + 4, u64((1 << 64) - 1)), "dimension of"),
        "an unknown type": (put(down + 20, u32(77)), "type 77"),
        "a type that is not read": (put(down + 20, u32(10)), "q2_K"),
        "rows that fill no blocks": (put(norm + 12, u32(12)), "do not fill blocks"),
        "an offset elsewhere": (put(down + 24, u64(32)), "overlap"),
        "an offset that overflows": (put(down + 24, u64((1 << 64) - 32)), "begins at byte"),
        "a hole": (put(down + 24, u64(1 << 40)), "hole"),
        "a tensor twice": (
            swap(text("blk.1.attn_q.bias"), text("blk.0.attn_q.bias")), "twice"),
        "a tensor of another name": (
            swap(text("blk.1.attn_q.bias"), text("blk.1.attn_x.bias")), "blk.1.attn_q.bias"),
        "a shape against the config": (
            swap(u32(2) + u64(96) + u64(64), u32(2) + u64(64) + u64(96)), "expected [64, 96]"),
        "an alignment of 3": (
            swap(key("general.file_type", 0), key("general.alignment", 3)), "power of two"),
        "another width": (
            swap(key("llama.embedding_length", 64), key("llama.embedding_length", 48)), "48"),
        "layers that are not there": (
            swap(key(shape, 3), key(shape, 1 << 30)), "block_count"),
        "an architecture of others": (
            swap(text("general.architecture") + u32(8) + text("llama"),
                 text("general.architecture") + u32(8) + text("bert7")), "bert7"),
        "a config that is no JSON": (swap(b'{"', b'{{'), "annuli.config"),
    }
