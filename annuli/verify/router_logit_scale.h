#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"
#include "annuli/verify/window_check.h"

// A mixture's routing survives growth: router logits equal the parent's, laid
// out by the child's experts, relative to their spread; and the same experts
// are chosen wherever the margin between the k-th and the next exceeds what
// rounding can move.
//
// Empty for a parent without routers, and for layers whose router is zero
// (nothing to scale: every choice there is a tie).
namespace annuli::verify {

// How far rounding may move a router's logits, relative to their spread.
double router_limit(const grow::Recipe& recipe, double storage_roundoff);

class RouterLogitScale : public WindowCheck {
 public:
  RouterLogitScale(const grow::Recipe& recipe, double storage_roundoff)
      : recipe_(recipe), limit_(router_limit(recipe, storage_roundoff)) {}

  void see(const LayerView& view) override;
  std::vector<double> seen() const override;
  void add_seen(const std::vector<double>& other) override;
  std::vector<Verdict> verdicts() const override;

 private:
  void see_layer(const at::Tensor& before, const at::Tensor& after,
                 const LayerView& view);
  void differs_from(int64_t layer);

  const grow::Recipe& recipe_;
  double limit_;
  double error_ = 0;     // largest |difference| / spread
  int64_t layer_ = -1;   // first above the limit
  int64_t decided_ = 0;  // tokens whose margin exceeds the bound
  int64_t tokens_ = 0;
  int64_t changed_ = 0;  // decided tokens with other experts
  // Sum over the tokens of a layer in a window, of softmax(logits), / ln E.
  std::map<std::pair<int64_t, int64_t>, double> entropy_;  // [window, layer]
};

// Which tokens two routers decide, and whether alike.
struct Choices {
  at::Tensor decided;  // [N] bool: the margin exceeds what rounding can move
  at::Tensor differs;  // [N] bool: other experts
};

// before, after: router logits [N, E]; k experts are chosen. limit: see
// router_limit.
Choices compare_choices(const at::Tensor& before, const at::Tensor& after,
                        int64_t k, double limit);

// The same of one layer of one window in both models. Where the child has
// selection biases, the experts that it chose must be copies of those that the
// parent chose, as many of each; and what decides is the margin of what the
// parent chose by.
Choices compare_choices(const LayerTrace& parent, const LayerTrace& child,
                        const grow::Recipe& recipe, double limit);

// With forward passes of its own.
std::vector<Verdict> router_logit_scale(const ParentRecord& parent,
                                        const grow::Recipe& recipe,
                                        const Probe& probe,
                                        const Transformer& child);

}  // namespace annuli::verify
