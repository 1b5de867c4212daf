#include "annuli/data/prepare.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/core/notice.h"
#include "annuli/core/progress.h"
#include "annuli/data/border_rules.h"
#include "annuli/data/document_cutter.h"
#include "annuli/data/spelled_tokens.h"
#include "annuli/data/text_files.h"
#include "annuli/data/text_input.h"
#include "annuli/data/token_file.h"

namespace annuli::data {
namespace {

// Changes whenever the same inputs would give other tokens.
constexpr std::string_view kRules = "annuli prepare 2";

// Of the documents, not of the files: the same text has the same token file
// however it is packed. A text that cannot be read shows here, before the long
// work.
std::string hash_inputs(const std::vector<fs::path>& files,
                        const BorderRules& borders, const TextOptions& text,
                        TextNotes& notes) {
  Sha256 hash;
  hash.update(kRules);
  hash.update(borders.text());
  for (const fs::path& file : files) {
    for_each_document(file, text, notes, [&](std::string_view document) {
      if (document.empty()) return;
      hash.update(fmt::format("{}\n", document.size()));
      hash.update(document);
    });
  }
  return hash.hex();
}

PrepareStats stats_of(const auto& file, const fs::path& path, size_t files) {
  PrepareStats stats;
  stats.path = path;
  stats.files = static_cast<int64_t>(files);
  stats.documents = file.document_count();
  stats.tokens = file.token_count();
  stats.text_bytes = file.text_bytes();
  return stats;
}

// What lies at `output`, if it is just what would be written.
std::optional<PrepareStats> reuse(const fs::path& output, size_t files,
                                  const Tokenizer& tokenizer,
                                  const std::string& inputs_hash) {
  try {
    const TokenFile file(output);
    if (file.inputs_hash() != inputs_hash ||
        file.tokenizer_hash() != tokenizer.hash() ||
        file.vocab_size() != tokenizer.vocab_size()) {
      return std::nullopt;
    }
    PrepareStats stats = stats_of(file, output, files);
    stats.reused = true;
    return stats;
  } catch (const UserError&) {
    return std::nullopt;  // damaged
  }
}

// Documents into a token file, each between its borders.
class Writing {
 public:
  Writing(const Tokenizer& tokenizer, const fs::path& output,
          const std::string& inputs_hash, const BorderRules& borders,
          const TextOptions& text)
      : tokenizer_(tokenizer),
        text_(text),
        put_(borders.put()),
        writer_(output, {tokenizer.vocab_size(), tokenizer.hash(), inputs_hash,
                         borders.recorded()}),
        spelled_(tokenizer),
        cuts_(!borders.split_at().empty()),
        cutter_(borders.split_at(),
                [this](std::string_view text) { write(text); }) {}

  void add_file(const fs::path& file) {
    for_each_document(file, text_, known_, [&](std::string_view text) {
      if (!cuts_) return write(text);
      for (size_t at = 0; at < text.size(); at += kPiece) {
        cutter_.add(text.substr(at, kPiece));
      }
      cutter_.finish();
    });
  }

  TokenFileWriter& writer() { return writer_; }
  const SpelledTokens& spelled() const { return spelled_; }

 private:
  // The cutter keeps a copy of what it was given last.
  static constexpr size_t kPiece = 1 << 20;

  void write(std::string_view text) {
    if (text.empty()) return;
    spelled_.count(text);
    ids_ = put_.begin;
    tokenizer_.encode_append(text, ids_, {.allow_special = false});
    ids_.insert(ids_.end(), put_.end.begin(), put_.end.end());
    if (!ids_.empty()) writer_.append(ids_, std::ssize(text));
  }

  const Tokenizer& tokenizer_;
  const TextOptions& text_;
  TextNotes known_;  // since the inputs were hashed
  PutBorders put_;
  TokenFileWriter writer_;
  SpelledTokens spelled_;
  bool cuts_;
  DocumentCutter cutter_;
  std::vector<int32_t> ids_;
};

PrepareStats write_tokens(const std::vector<fs::path>& files,
                          const Tokenizer& tokenizer, const fs::path& output,
                          const std::string& inputs_hash,
                          const BorderRules& borders,
                          const PrepareOptions& options) {
  int64_t bytes = 0;
  for (const fs::path& file : files) {
    bytes += static_cast<int64_t>(fs::file_size(file));
  }
  std::optional<Progress> progress;
  if (options.show_progress)
    progress.emplace("tokenizing", bytes, ProgressUnit::kBytes);
  Writing writing(tokenizer, output, inputs_hash, borders, options.text);
  for (const fs::path& file : files) {
    writing.add_file(file);
    if (progress) progress->advance(static_cast<int64_t>(fs::file_size(file)));
  }
  if (writing.writer().document_count() == 0) {
    user_error("tokenizing {}: found only empty documents in {} files",
               output.string(), files.size());
  }
  writing.writer().commit();
  PrepareStats stats = stats_of(writing.writer(), output, files.size());
  const std::string spelled = writing.spelled().notice();
  if (!spelled.empty()) stats.notices.push_back(spelled);
  return stats;
}

PrepareStats reuse_or_write(const std::vector<fs::path>& files,
                            const Tokenizer& tokenizer, const fs::path& output,
                            const std::string& inputs_hash,
                            const BorderRules& borders,
                            const PrepareOptions& options) {
  if (fs::exists(output)) {
    if (!TokenFile::has_magic(output)) {
      user_error(
          "tokenizing to {}: found something else than a token file "
          "there; remove it or choose another path",
          output.string());
    }
    if (!options.force) {
      const auto stats = reuse(output, files.size(), tokenizer, inputs_hash);
      if (stats) return *stats;
    }
  }
  if (output.has_parent_path()) {
    std::error_code error;  // a failure shows when the file is opened
    fs::create_directories(output.parent_path(), error);
  }
  return write_tokens(files, tokenizer, output, inputs_hash, borders, options);
}

// The notices come last: a refusal stays one line.
PrepareStats prepare_files(const std::vector<fs::path>& files,
                           const Tokenizer& tokenizer, const fs::path& output,
                           const std::string& inputs_hash,
                           const BorderRules& borders,
                           const PrepareOptions& options,
                           const TextNotes& notes) {
  PrepareStats stats =
      reuse_or_write(files, tokenizer, output, inputs_hash, borders, options);
  stats.borders = borders.put();
  const auto add = [&](std::vector<std::string> lines) {
    std::ranges::move(lines, std::back_inserter(stats.notices));
  };
  add(notes.lines());
  add(borders.notices());
  add(tokenizer.notices());
  if (!options.show_progress) return stats;
  for (const std::string& notice : stats.notices) {
    print_notice(notice);
  }
  return stats;
}

std::vector<fs::path> find_inputs(const std::vector<std::string>& inputs,
                                  TextNotes& notes) {
  if (inputs.empty()) user_error("tokenizing: no text is named");
  return find_text_files(inputs, notes);
}

}  // namespace

PrepareStats prepare_tokens(const std::vector<std::string>& inputs,
                            const Tokenizer& tokenizer, const fs::path& output,
                            const PrepareOptions& options) {
  TextNotes notes;
  const std::vector<fs::path> files = find_inputs(inputs, notes);
  const BorderRules borders(tokenizer, options.borders, options.split_at);
  return prepare_files(files, tokenizer, output,
                       hash_inputs(files, borders, options.text, notes),
                       borders, options, notes);
}

PrepareStats prepare_tokens_in(const fs::path& folder,
                               const std::vector<std::string>& inputs,
                               const Tokenizer& tokenizer,
                               const PrepareOptions& options) {
  TextNotes notes;
  const std::vector<fs::path> files = find_inputs(inputs, notes);
  const BorderRules borders(tokenizer, options.borders, options.split_at);
  const std::string hash = hash_inputs(files, borders, options.text, notes);
  const std::string key = sha256_of(hash + tokenizer.hash());
  remove_temporaries(folder);
  return prepare_files(files, tokenizer,
                       folder / fmt::format("{}.tokens", key.substr(0, 16)),
                       hash, borders, options, notes);
}

}  // namespace annuli::data
