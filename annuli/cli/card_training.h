#pragma once

#include "annuli/checkpoint/model_file.h"
#include "annuli/grow/model_card.h"

namespace annuli::cli {

// What the run says that trained the model, where it is a checkpoint that still
// lies in the run's folder (RUN/checkpoints/NAME.pt): loss by phase up to the
// checkpoint's, held-out loss, the curve. Nothing for any other model; a
// history that cannot be read is a notice, no error.
grow::CardTraining card_training(const ModelFile& model);

}  // namespace annuli::cli
