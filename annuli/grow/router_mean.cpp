#include "annuli/grow/router_mean.h"

#include "annuli/model/transformer.h"

namespace annuli::grow {

std::vector<at::Tensor> feed_forward_means(const ModelFile& file,
                                           const at::Tensor& tokens) {
  const Transformer model = load_model(file, {.as_stored = true});
  at::Tensor x = model.embed(tokens);
  std::vector<at::Tensor> means;
  for (int64_t layer = 0; layer < file.config().num_hidden_layers; ++layer) {
    LayerTrace trace;
    x = model.block(x, layer, {}, &trace);
    means.push_back(trace.ffn_input.mean(0));
    file.drop_resident();
  }
  return means;
}

}  // namespace annuli::grow
