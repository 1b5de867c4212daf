#include "annuli/model/tensor_part.h"

namespace annuli {

TensorPart tensor_part(Part part) {
  switch (traits_of(part).kind) {
    case PartTraits::Kind::kTable:
      return part == Part::kHead ? TensorPart::kHead : TensorPart::kEmbedding;
    case PartTraits::Kind::kGain:
      return TensorPart::kGains;
    case PartTraits::Kind::kBias:
      return TensorPart::kBiases;
    case PartTraits::Kind::kSelection:
      return TensorPart::kRouter;
    case PartTraits::Kind::kMatrix:
      break;
  }
  switch (part) {
    case Part::kRouter:
    case Part::kSharedGate:
      return TensorPart::kRouter;
    case Part::kGate:
    case Part::kUp:
    case Part::kDown:
      return TensorPart::kFeedForward;
    default:
      return TensorPart::kAttention;
  }
}

}  // namespace annuli
