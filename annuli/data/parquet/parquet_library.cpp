#include "annuli/data/parquet/parquet_library.h"

#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
#include <parquet/column_reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

// The one file that knows Apache Arrow. It reads the pages of one column by
// themselves (Parquet's own interface, below that of Arrow's tables), because
// a row group may be larger than memory and a page seldom is.
namespace annuli::data {
namespace {

// Levels beyond these mean lists or structs around the value.
bool is_flat(const parquet::ColumnDescriptor& column) {
  return column.path()->ToDotVector().size() == 1 &&
         column.max_repetition_level() == 0 &&
         column.max_definition_level() <= 1;
}

// Strings are bytes with a mark, or without one by older writers.
bool holds_text(const parquet::ColumnDescriptor& column) {
  if (!is_flat(column) || column.physical_type() != parquet::Type::BYTE_ARRAY) {
    return false;
  }
  const auto& type = column.logical_type();
  return type == nullptr || type->is_none() || type->is_string() ||
         type->is_enum() || type->is_JSON();
}

std::string described(const parquet::ColumnDescriptor& column) {
  if (!is_flat(column)) return "nested values";
  const auto& type = column.logical_type();
  return type == nullptr || type->is_none()
             ? parquet::TypeToString(column.physical_type())
             : type->ToString();
}

std::string text_columns(const parquet::SchemaDescriptor& schema) {
  std::string names;
  for (int i = 0; i < schema.num_columns(); ++i) {
    if (!holds_text(*schema.Column(i))) continue;
    names += (names.empty() ? "'" : ", '") + schema.Column(i)->name() + "'";
  }
  return names.empty() ? "no column holds text"
                       : "--text-column (data.text_column) takes " + names;
}

int find_column(const parquet::SchemaDescriptor& schema,
                const std::string& name) {
  for (int i = 0; i < schema.num_columns(); ++i) {
    const parquet::ColumnDescriptor& column = *schema.Column(i);
    if (column.path()->ToDotVector().front() != name) continue;
    if (holds_text(column)) return i;
    throw std::runtime_error("found " + described(column) + " in its column '" +
                             name + "', expected text; " +
                             text_columns(schema));
  }
  throw std::runtime_error("found no column '" + name + "'; " +
                           text_columns(schema));
}

class Column final : public ParquetColumn {
 public:
  Column(const char* path, const std::string& name)
      : file_(parquet::ParquetFileReader::OpenFile(path, /*memory_map=*/false,
                                                   properties())),
        index_(find_column(*file_->metadata()->schema(), name)) {}

  std::span<const std::optional<std::string_view>> next() override {
    rows_.clear();
    while (rows_.empty() && (has_next() || next_group())) {
      if (has_next()) read();
    }
    return rows_;
  }

 private:
  static constexpr int64_t kRows = 1024;

  static parquet::ReaderProperties properties() {
    parquet::ReaderProperties properties(arrow::system_memory_pool());
    // A column is not read as a whole before its first page.
    properties.enable_buffered_stream();
    properties.set_buffer_size(1 << 20);
    properties.set_page_checksum_verification(true);
    return properties;
  }

  bool has_next() { return reader_ != nullptr && reader_->HasNext(); }

  bool next_group() {
    if (rows_left_ != 0) throw parquet::ParquetException("found too few rows");
    if (group_ == file_->metadata()->num_row_groups()) return false;
    rows_left_ = file_->metadata()->RowGroup(group_)->num_rows();
    reader_ = std::dynamic_pointer_cast<parquet::ByteArrayReader>(
        file_->RowGroup(group_++)->Column(index_));
    if (reader_ == nullptr) throw parquet::ParquetException("found no text");
    return true;
  }

  void read() {
    int64_t values = 0;
    const int64_t levels = reader_->ReadBatch(kRows, levels_.data(), nullptr,
                                              values_.data(), &values);
    const bool nullable =
        file_->metadata()->schema()->Column(index_)->max_definition_level() > 0;
    const parquet::ByteArray* value = values_.data();
    const parquet::ByteArray* const end = value + values;
    const int64_t rows = nullable ? levels : values;
    for (int64_t i = 0; i < rows; ++i) {
      if (nullable && levels_[static_cast<size_t>(i)] == 0) {
        rows_.emplace_back();
      } else if (value == end) {
        throw parquet::ParquetException("found fewer values than rows");
      } else {
        rows_.emplace_back(std::in_place,
                           reinterpret_cast<const char*>(value->ptr),
                           value->len);
        ++value;
      }
    }
    if (rows == 0)
      throw parquet::ParquetException("found a page that ends early");
    rows_left_ -= rows;
  }

  std::unique_ptr<parquet::ParquetFileReader> file_;
  int index_;
  int group_ = 0;          // the next one
  int64_t rows_left_ = 0;  // of the one before it
  std::shared_ptr<parquet::ByteArrayReader> reader_;
  std::vector<int16_t> levels_ = std::vector<int16_t>(kRows);
  std::vector<parquet::ByteArray> values_ =
      std::vector<parquet::ByteArray>(kRows);
  std::vector<std::optional<std::string_view>> rows_;
};

}  // namespace
}  // namespace annuli::data

extern "C" annuli::data::ParquetColumn* annuli_open_parquet(
    const char* path, const char* column) {
  return new annuli::data::Column(path, column);
}
