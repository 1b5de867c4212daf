#pragma once

#include <cstdint>
#include <vector>

#include "annuli/grow/recipe.h"

namespace annuli::verify {

// A child layer and the parent layer whose residual stream it must reproduce.
struct LayerPair {
  int64_t child;
  int64_t parent;
};

// The parent's own layers in the child, in order. After a growth that is not
// exact only what the change has not reached: the layers before the first new
// one, and none where layers compute something else in themselves (experts
// that are drawn, merged, or chosen otherwise).
std::vector<LayerPair> comparable_layers(const grow::Recipe& recipe);

// Dense feed-forward -> mixture.
bool is_upcycle(const grow::Recipe& recipe);
// Another number of experts is chosen for a token than in the parent.
bool makes_gates(const grow::Recipe& recipe);

// Shards that each copy of a dense feed-forward was cut in, G; 1 if in none.
int64_t shards_of(const grow::Recipe& recipe);

// Every expert is a full copy of the dense feed-forward, and nothing else has
// changed: with equal GEMM shapes the child's bits are the parent's.
bool is_plain_upcycle(const grow::Recipe& recipe);

// No tensor is cut, tiled or scaled: more layers, or a head of its own.
bool keeps_every_tensor(const grow::Recipe& recipe);

}  // namespace annuli::verify
