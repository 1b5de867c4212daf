#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "annuli/core/folder_for_tests.h"
#include "annuli/core/hash.h"
#include "annuli/core/rng.h"
#include "annuli/data/token_file.h"

// For the tests of this folder: a folder that goes away, and token files made
// from lists of ids.
namespace annuli::data {

class DataTest : public testing::Test {
 protected:
  fs::path write(const std::string& name, std::string_view content) const {
    return scratch_.write(name, content);
  }

  // Each document counts three bytes of text a token.
  fs::path write_tokens(const std::vector<std::vector<int32_t>>& documents,
                        int64_t vocab_size) const {
    const fs::path path = folder_ / "test.tokens";
    TokenFileWriter writer(path,
                           {vocab_size, sha256_of("tok"), sha256_of("in")});
    for (const auto& ids : documents) writer.append(ids, std::ssize(ids) * 3);
    writer.commit();
    return path;
  }

  // One document of `count` ids below vocab_size, always the same.
  fs::path write_random(int64_t count, int64_t vocab_size) const {
    const CounterRng rng(3, "text");
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < count; ++i) {
      ids.push_back(static_cast<int32_t>(rng.below(i, vocab_size)));
    }
    return write_tokens({ids}, vocab_size);
  }

  // Documents of these lengths; the ids count up through all of them, so that
  // id and position in the file are the same.
  fs::path write_counting(const std::vector<int64_t>& lengths) const {
    std::vector<std::vector<int32_t>> documents;
    int32_t id = 0;
    for (int64_t length : lengths) {
      auto& ids = documents.emplace_back();
      while (std::ssize(ids) < length) ids.push_back(id++);
    }
    return write_tokens(documents, 1 << 20);
  }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
};

}  // namespace annuli::data
