"""Run by wheel_test.py, in an environment where the wheel is installed: with
dynamics="exact" the child of a growth in memory trains as its parent does, by
PyTorch's own optimizers."""

import unittest
from unittest import mock

import annuli._exact
import annuli.torch as at
import torch

import training
from training import families, in_double, train

torch.set_num_threads(1)
KEY = annuli._exact.KEY
STEPS, FEW = 100, 5
# fp64 rounding, with a factor of a thousand for what 100 steps amplify.
LIMIT = 1e-12


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-6, weight_decay=0.1)


def decoupled_adam(model):
    return torch.optim.Adam(
        model.parameters(), lr=1e-3, eps=1e-6, weight_decay=0.1,
        decoupled_weight_decay=True)


def sgd(model):
    return torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)


def adafactor(model):
    """All that eps bounds is there: means of a matrix' squared gradients, squared
    gradients of vectors, means of squared weights."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.Adafactor(
        [{"params": matrices, "eps": (1.2e-4, 0.08)}, {"params": vectors, "eps": (3e-3, 0.08)}],
        lr=1e-3, weight_decay=0.1)


def muon(model, **options):
    """Of the matrices of blocks, as it is used; eps is above the norm of some."""
    held = [p for n, p in model.named_parameters() if "proj" in n]
    return torch.optim.Muon(held, lr=1e-3, eps=0.2, **options)


def muon_as_adamw(model):
    return muon(model, adjust_lr_fn="match_rms_adamw")


def orthogonal_in_double(grad, coefficients, steps, eps):
    """torch.optim.Muon's Newton-Schulz iteration, whose own products are in bf16."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


def one_layer():
    model = families.make("llama", torch.float64).train()
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    return in_double(model)


# What is multiplied, each of which is needed.
OPTIMIZERS = {
    "AdamW": (training.adamw, ["lr", "eps", "weight_decay"]),
    "Adam": (adam, ["lr", "eps", "weight_decay"]),
    "Adam, decoupled": (decoupled_adam, ["lr", "eps", "weight_decay"]),
    "SGD": (sgd, ["lr", "weight_decay"]),
    "Adafactor": (adafactor, ["eps 0", "eps 1"]),
}
if hasattr(torch.optim, "Muon"):
    OPTIMIZERS |= {
        "Muon": (muon, ["lr", "eps", "weight_decay"]),
        "Muon, rms": (muon_as_adamw, ["lr", "eps", "weight_decay"]),
    }


def without(name, optimizer):
    """Takes one multiplier out of every group."""
    key, _, place = name.partition(" ")
    count = 0
    for group in optimizer.param_groups:
        factor = group[KEY][key]
        if place:
            held, i = list(group[key]), int(place)
            count += factor[i] != 1
            held[i] /= factor[i]
            group[key] = tuple(held)
        else:
            count += factor != 1
            group[key] /= factor
    if count == 0:
        raise AssertionError(f"nothing has another {name}")


def difference(model, optimizer, child, grown, steps):
    """The largest of two losses on the same tokens."""
    expected = train(model, optimizer, steps, seed=50)
    found = train(child, grown, steps, seed=50)
    return max(abs(a - b) for a, b in zip(expected, found, strict=True))


class ExactDynamics(unittest.TestCase):
    # Most matrices are laid below themselves as often as beside, some are not.
    SIZES = {"hidden": 96, "heads": 8, "kv_heads": 8, "ffn": 240}

    def setUp(self):
        if hasattr(torch.optim, "Muon"):
            patch = mock.patch.object(
                torch.optim._muon, "_zeropower_via_newtonschulz", orthogonal_in_double)
            patch.start()
            self.addCleanup(patch.stop)

    def pair(self, make):
        """A parent, its optimizer, and both of the child."""
        model = one_layer()
        optimizer = make(model)
        train(model, optimizer, 3)
        growth = at.widen(noise_snr_db="none", dynamics="exact", **self.SIZES)
        child, grown = at.grow(model, optimizer, growth, verify=False)
        return model, optimizer, in_double(child), grown

    def test_follows_the_parent(self):
        for name, (make, _) in OPTIMIZERS.items():
            with self.subTest(name):
                self.assertLess(difference(*self.pair(make), STEPS), LIMIT)

    def test_each_part_is_needed(self):
        for name, (make, keys) in OPTIMIZERS.items():
            for key in (*keys, "state"):
                with self.subTest(f"{name}, {key}"):
                    model, optimizer, child, grown = self.pair(make)
                    if key == "state":
                        grown.state.clear()
                    else:
                        without(key, grown)
                    off = difference(model, optimizer, child, grown, FEW)
                    self.assertGreater(off, 1e3 * LIMIT)


if __name__ == "__main__":
    unittest.main()
