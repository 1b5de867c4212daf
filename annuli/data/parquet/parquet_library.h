#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

// Between the program and `annuli_parquet`, which is loaded when it is needed.
namespace annuli::data {

// One column of one file. What is wrong with it is a std::runtime_error that
// says what was found, without the file's name; a damaged file is any other
// std::exception.
class ParquetColumn {
 public:
  virtual ~ParquetColumn() = default;

  // The next rows, at least one; none at the end. They are valid until the
  // next call.
  virtual std::span<const std::optional<std::string_view>> next() = 0;
};

}  // namespace annuli::data

// The library's one entry: a new ParquetColumn.
extern "C" annuli::data::ParquetColumn* annuli_open_parquet(const char* path,
                                                            const char* column);
using AnnuliOpenParquet = decltype(&annuli_open_parquet);
