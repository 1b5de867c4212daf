"""Models of transformers: their tensors as the library is told them, and a child
that is made of tensors."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers

from . import _memory
from ._errors import UserError

_DOING = "growing in memory"


def tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a state_dict holds, each tensor once: of a tied pair the first."""
    found: dict[str, torch.Tensor] = {}
    seen = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


class Source:
    """A parent. UserError if it is no model that can be grown here."""

    def __init__(self, model: torch.nn.Module) -> None:
        _refuse_others(model)
        self.model: Any = model
        self.config = _config_of(model)
        self.tensors = tensors_of(model)
        self.was_trained = {n: t.requires_grad for n, t in self.tensors.items()}
        self.dimensions = {n: t.dim() for n, t in self.tensors.items()}
        for name, tensor in self.tensors.items():
            _refuse_tensor(name, tensor)

    def words(self) -> dict[str, Any]:
        return {"config": self.config, "tensors": _memory.all_words(self.tensors)}

    def release(self, name: str) -> int:
        """Frees the tensor; its parameter stays, empty. Gives back its bytes."""
        tensor = self.tensors.pop(name)
        count = tensor.nbytes
        tensor.grad = None
        tensor.data = torch.empty(0, dtype=tensor.dtype)
        return count


def _config_of(model: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    config["architectures"] = [type(model).__name__]
    return config


def _refuse_others(model: Any) -> None:
    kind = type(model).__name__
    if kind == "OptimizedModule":
        raise UserError(
            f"{_DOING}: found a compiled model, expected the model itself; give "
            "model._orig_mod, and compile the child"
        )
    if not isinstance(model, transformers.PreTrainedModel):
        inner = getattr(model, "module", None)
        advice = "; give model.module" if isinstance(inner, torch.nn.Module) else ""
        if hasattr(model, "peft_config"):
            advice = "; merge the adapter first: model.merge_and_unload()"
        raise UserError(
            f"{_DOING}: found a {kind}, expected a model of transformers{advice}"
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UserError(
            f"{_DOING}: the model holds adapters, expected none; merge them first"
        )
    quantized = getattr(model, "is_quantized", False)
    if quantized or getattr(model.config, "quantization_config", None) is not None:
        raise UserError(
            f"{_DOING}: the model is quantised, expected plain weights; load it "
            "without a quantization_config"
        )


def _refuse_tensor(name: str, tensor: torch.Tensor) -> None:
    if type(tensor.data) is not torch.Tensor:
        raise UserError(
            f"{_DOING}: tensor '{name}' is a {type(tensor.data).__name__}, expected "
            "a plain tensor, whole and in the host's memory"
        )
    fault = fault_of(tensor.device, tensor.layout)
    if fault:
        raise UserError(f"{_DOING}: tensor '{name}' {fault}")


def fault_of(device: torch.device, layout: torch.layout) -> str:
    """Why a tensor cannot be read where it is; "" if it can."""
    if device.type == "meta":
        return "has no data (device meta), expected weights; load them first"
    if device.type != "cpu":
        return (
            f"is on {device}, expected the host's memory; move the model and its "
            "optimizer there first: model.cpu()"
        )
    if layout is not torch.strided:
        return f"is {layout}, expected a dense tensor"
    return ""


def refuse_gradient(name: str, tensor: torch.Tensor) -> None:
    if tensor.grad is not None and bool(tensor.grad.count_nonzero()):
        raise UserError(
            f"{_DOING}: tensor '{name}' has a gradient that was not used, expected "
            "none; grow between optimizer.step() with zero_grad() and backward()"
        )


@contextlib.contextmanager
def _parameters_without_memory() -> Iterator[None]:
    """Parameters are made on the device meta; buffers are as they are."""
    register = torch.nn.Module.register_parameter

    def on_meta(self: Any, name: str, parameter: torch.nn.Parameter | None) -> None:
        if parameter is not None and parameter.device.type != "meta":
            parameter = torch.nn.Parameter(
                parameter.to("meta"), requires_grad=parameter.requires_grad
            )
        register(self, name, parameter)

    setattr(torch.nn.Module, "register_parameter", on_meta)
    try:
        yield
    finally:
        setattr(torch.nn.Module, "register_parameter", register)


def skeleton(words: Mapping[str, Any], parent: Any) -> Any:
    """The child's model, with parameters that have no memory yet."""
    settings = dict(words)
    kind = settings.pop("model_type")
    config = transformers.AutoConfig.for_model(kind, **settings)
    config._attn_implementation = parent.config._attn_implementation
    if kind == parent.config.model_type:
        make = type(parent)
    else:
        make = _class_of(config, words)
    with _parameters_without_memory(), torch.random.fork_rng(devices=[]):
        child = make(config)
    child.train(parent.training)
    if any(getattr(module, "gradient_checkpointing", False) for module in parent.modules()):
        child.gradient_checkpointing_enable()
    if getattr(parent, "generation_config", None) is not None:
        child.generation_config = copy.deepcopy(parent.generation_config)
    return child


def _class_of(config: Any, words: Mapping[str, Any]) -> Any:
    mapping: Any = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) not in mapping:
        raise UserError(
            f"{_DOING}: the child is a {words['model_type']}, for which this "
            "transformers has no causal language model"
        )
    return mapping[type(config)]


def fill(
    child: Any,
    tensors: Mapping[str, torch.Tensor],
    source: Source,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Makes the tensors the child's own, tied ones too. What a frozen parameter
    became is frozen."""
    frozen = {
        row["tensor"]
        for row in rows
        if not source.was_trained.get(row["parent"] or row["settings_from"], True)
    }
    replaced: dict[int, torch.Tensor] = {}
    for name, old in tensors_of(child).items():
        new = tensors[name]
        if isinstance(old, torch.nn.Parameter):
            trained = old.requires_grad and name not in frozen
            new = torch.nn.Parameter(new, requires_grad=trained)
        replaced[id(old)] = new
    for module in child.modules():
        for own in (module._parameters, module._buffers):
            for leaf, held in own.items():
                if id(held) in replaced:
                    own[leaf] = replaced[id(held)]
