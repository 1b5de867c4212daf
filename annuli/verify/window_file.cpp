#include "annuli/verify/window_file.h"

#include <ATen/ops/empty.h>

#include <utility>

namespace annuli::verify {
namespace {

constexpr size_t kBesideLayers = 2;
constexpr size_t kOfLayer = 7;

// Every tensor of a window, in one order.
template <typename Record, typename Visit>
void visit_tensors(Record& window, const Visit& visit) {
  visit(window.logits);
  visit(window.trace.embedding);
  for (auto& layer : window.trace.layers) {
    visit(layer.residual);
    visit(layer.q);
    visit(layer.k);
    visit(layer.ffn_input);
    visit(layer.router_logits);
    visit(layer.selection);
    visit(layer.experts);
  }
}

}  // namespace

WindowFile::Place WindowFile::put(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  const at::Tensor data = tensor.detach().cpu().contiguous();
  return {data.scalar_type(), data.sizes().vec(),
          file_.append(data.const_data_ptr(), data.nbytes())};
}

at::Tensor WindowFile::get(const Place& place) const {
  if (place.offset < 0) return {};
  at::Tensor tensor =
      at::empty(place.shape, at::TensorOptions().dtype(place.dtype));
  file_.read(place.offset, tensor.data_ptr(), tensor.nbytes());
  return tensor;
}

void WindowFile::add(const WindowRecord& window) {
  Window places;
  visit_tensors(window, [&](const at::Tensor& t) { places.push_back(put(t)); });
  windows_.push_back(std::move(places));
}

WindowRecord WindowFile::read(size_t i) const {
  const Window& places = windows_.at(i);
  WindowRecord window;
  window.trace.layers.resize((places.size() - kBesideLayers) / kOfLayer);
  size_t next = 0;
  visit_tensors(window, [&](at::Tensor& t) { t = get(places[next++]); });
  return window;
}

}  // namespace annuli::verify
