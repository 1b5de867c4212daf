#include "annuli/verify/window_file.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include "annuli/verify/parent_record.h"
#include "tests/support/tiny_model.h"

namespace annuli::verify {
namespace {

void expect_same(const at::Tensor& a, const at::Tensor& b) {
  ASSERT_EQ(a.defined(), b.defined());
  if (!a.defined()) return;
  EXPECT_EQ(a.scalar_type(), b.scalar_type());
  EXPECT_TRUE(at::equal(a, b));
}

TEST(WindowFile, GivesBackEveryTensorOfEveryWindow) {
  for (const tiny::Flavour& flavour : tiny::flavours()) {
    const Transformer model = tiny::model(tiny::config(flavour), at::kFloat);
    WindowFile file;
    std::vector<WindowRecord> windows;
    for (uint64_t seed = 0; seed < 3; ++seed) {
      windows.push_back(record_window(model, tiny::tokens(1, 7, 61, seed),
                                      Dispatch::kSorted));
      file.add(windows.back());
    }
    ASSERT_EQ(file.size(), windows.size());
    for (size_t i = windows.size(); i-- > 0;) {
      const WindowRecord found = file.read(i);
      expect_same(found.logits, windows[i].logits);
      expect_same(found.trace.embedding, windows[i].trace.embedding);
      ASSERT_EQ(found.trace.layers.size(), windows[i].trace.layers.size());
      for (size_t l = 0; l < found.trace.layers.size(); ++l) {
        const LayerTrace& a = found.trace.layers[l];
        const LayerTrace& b = windows[i].trace.layers[l];
        expect_same(a.residual, b.residual);
        expect_same(a.q, b.q);
        expect_same(a.k, b.k);
        expect_same(a.ffn_input, b.ffn_input);
        expect_same(a.router_logits, b.router_logits);
        expect_same(a.experts, b.experts);
      }
    }
  }
}

TEST(TraceLayers, ShowsWhatTheWholePassDoes) {
  tiny::Flavour flavour;
  flavour.mixture = true;
  const Transformer model = tiny::model(tiny::config(flavour), at::kFloat);
  const at::Tensor tokens = tiny::tokens(1, 9, 61);
  Trace whole;
  ForwardOptions options;
  options.trace = &whole;
  model.hidden_states(tokens, options);
  size_t seen = 0;
  trace_layers(model, tokens, [&](int64_t layer, const LayerTrace& trace) {
    ++seen;
    const LayerTrace& expected = whole.layers.at(layer);
    expect_same(trace.ffn_input, expected.ffn_input);
    expect_same(trace.experts, expected.experts);
    expect_same(trace.residual, expected.residual);
  });
  EXPECT_EQ(seen, whole.layers.size());
}

}  // namespace
}  // namespace annuli::verify
