#include "annuli/grow/state_mover.h"

#include <string>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/parallel/pass_on.h"

namespace annuli::grow {
namespace {

std::vector<at::Tensor*> parts_of(TensorState& state) {
  std::vector<at::Tensor*> parts;
  optim::visit_parts(
      state, [&](const char*, at::Tensor& part) { parts.push_back(&part); });
  return parts;
}

}  // namespace

StateMover::StateMover(const std::vector<TensorState>& parent,
                       const StateOwners& owners)
    : parent_(parent), owners_(owners), shapes_(parent.size()) {
  Json own = Json::array();
  const std::vector<size_t>& rows = owners.parent.rows_of(owners.group.rank());
  for (const size_t row : rows) own.push_back(words_of(parent[row]));
  const std::vector<std::string> texts = owners.group.gather(own.dump());
  for (int64_t rank = 0; rank < owners.group.size(); ++rank) {
    const Json words = Json::parse(texts[rank]);
    size_t i = 0;
    for (const size_t row : owners.parent.rows_of(rank)) {
      shapes_[row] = read_words(words.at(i++));
    }
  }
}

Json StateMover::words_of(const TensorState& state) {
  Json words = Json::array();
  size_t part = 0;
  optim::visit_parts(state, [&](const char*, const at::Tensor& tensor) {
    if (tensor.defined()) {
      words.push_back(
          {part, static_cast<int>(tensor.scalar_type()), tensor.sizes().vec()});
    }
    ++part;
  });
  return words;
}

std::vector<StateMover::Shape> StateMover::read_words(const Json& words) {
  std::vector<Shape> shapes;
  for (const Json& part : words) {
    shapes.push_back({part.at(0).get<size_t>(),
                      static_cast<at::ScalarType>(part.at(1).get<int>()),
                      part.at(2).get<std::vector<int64_t>>()});
  }
  return shapes;
}

bool StateMover::makes(size_t child_row) const {
  return owners_.child.owns(owners_.group.rank(), child_row);
}

bool StateMover::was_sent(size_t row, size_t child_row) const {
  return owners_.parent.owner(row) != owners_.child.owner(child_row);
}

TensorState StateMover::moved(size_t row, size_t child_row) {
  TensorState state = parent_[row];
  if (!was_sent(row, child_row)) return state;
  const std::vector<at::Tensor*> parts = parts_of(state);
  for (const Shape& shape : shapes_[row]) {
    at::Tensor& part = *parts[shape.part];
    part = sent(part, shape, owners_.parent.owner(row),
                owners_.child.owner(child_row));
  }
  return state;
}

// As bytes: of any type.
at::Tensor StateMover::sent(const at::Tensor& part, const Shape& shape,
                            int64_t from, int64_t to) {
  const at::Tensor own = owners_.group.rank() == from
                             ? part.contiguous().view(-1).view(at::kByte)
                             : at::Tensor();
  const at::Tensor come = parallel::pass_on(owners_.group, own, from, to);
  if (!come.defined()) return {};
  at::Tensor made = kernels::owned_empty(shape.sizes, shape.dtype);
  made.view(-1).view(at::kByte).copy_(come);
  return made;
}

}  // namespace annuli::grow
