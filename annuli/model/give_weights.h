#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/model/row_owners.h"
#include "annuli/parallel/bucket.h"
#include "annuli/parallel/process_group.h"

namespace annuli {

class Transformer;

// Gives the rows' weights of their owners to all processes, into the memory
// that they have there, a bucket at a time. A graph does not notice. The model
// need not live until it is done; its weights do.
//
// Memory: the own part of a bucket and what comes; with more than two
// processes, the own once more for each that gets it.
parallel::Begun begin_giving(const Transformer& model, const RowOwners& owners,
                             const std::vector<size_t>& rows,
                             parallel::ProcessGroup& group,
                             int64_t bucket_bytes = parallel::kBucketBytes);

}  // namespace annuli
