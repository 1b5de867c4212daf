#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

// Router rows from clusters of what a layer's feed-forward reads: tokens that
// are alike begin with the same experts (Cluster-aware Upcycling, 2604.13508).
// Copies of experts may be chosen by any router, so the growth is as exact as
// with random rows.
//
// Inputs x [N, D]. Their mean is taken out, and with it the mean's direction,
// which all tokens share: y = (x - mean) without its part along the mean. A
// token's logit for a row is the row's product with it, so tokens are clustered
// by direction (spherical k-means, fp64): the first centres are drawn as
// k-means++ does, with the chance of a token in proportion to its distance
// 1 - cos from the nearest centre so far, of 2 + ln count draws the one that
// leaves the least distance, by counters of (seed, layer); then
// kIterations times each token goes to the centre of the greatest cosine, of
// equal ones to the lowest, and a centre becomes the direction of the sum of
// its tokens' directions. A centre without tokens becomes the token that is
// farthest from its own.
//
// Rows are the centres, all of one length, so that no expert is favoured: by
// that length the mean square of the logits of all y and rows is that of random
// rows of deviation 1, mean |y|^2. Times router_std that is the size of logits
// that a random router of this deviation begins with, in a model of any width;
// rows of that deviation themselves would give logits larger by about
// sqrt(D) times a typical cosine, and gates that leave the second choice
// nothing.
//
// The same bits for any number of threads: each sum has an order of its own.
namespace annuli {
class ModelFile;
}

namespace annuli::grow {

struct CentroidOrder {
  int64_t count = 0;  // of rows; 0: none
  uint64_t seed = 0;
};

inline constexpr int kIterations = 25;

// [count, D] fp64, on the CPU. inputs: [N, D], any floating type, any device.
// Fewer tokens than rows, or all of one direction, leave rows equal.
at::Tensor centroid_rows(const at::Tensor& inputs, const CentroidOrder& order,
                         int64_t layer);

// Of every layer of a model, over `tokens` [B, T]. One layer of the model is in
// memory at a time.
std::vector<at::Tensor> router_centroids(const ModelFile& model,
                                         const at::Tensor& tokens,
                                         const CentroidOrder& order);

}  // namespace annuli::grow
