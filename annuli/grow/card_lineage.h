#pragma once

#include <string>

#include "annuli/checkpoint/lineage.h"

namespace annuli::grow {

// A numbered list in Markdown, one sentence for each record.
std::string lineage_in_sentences(const Lineage& lineage);

// The verdicts of the last growth as a table; "" if nothing in the lineage is a
// growth.
std::string verdicts_in_words(const Lineage& lineage);

}  // namespace annuli::grow
