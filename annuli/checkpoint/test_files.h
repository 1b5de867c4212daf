#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "annuli/checkpoint/zip_for_tests.h"
#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/user_error_for_tests.h"

// What the tests of files share.
namespace annuli::test {

// Writes without a sync: for the thousands of damaged files.
inline void write_raw(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Same type, shape and bits.
inline bool identical(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a, b);
}

}  // namespace annuli::test
