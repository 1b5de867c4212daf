#include <cstddef>
#include <string>
#include <utility>

#include "annuli/checkpoint/pickle_reader.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

using enum PickleKind;

// Writes shared parts out wherever they are named, up to a bound.
class JsonBuilder {
 public:
  JsonBuilder(const PickleDocument& document, const std::string& path)
      : document_(document), path_(path) {}

  Json build(const PickleNode& node, int depth) {
    constexpr int kMaxDepth = 100;
    if (depth > kMaxDepth) {
      user_error("reading {}: its values are nested too deeply", path_);
    }
    spend(node.text);
    switch (node.kind) {
      case kNone:
        return nullptr;
      case kBool:
        return node.integer != 0;
      case kInteger:
        return node.integer;
      case kReal:
        return node.real;
      case kString:
        return node.text;
      case kList:
      case kTuple:
        return list(node, depth);
      case kDict:
        return dict(node, depth);
      default:
        user_error(
            "reading {}: found a tensor where a plain value was "
            "expected",
            path_);
    }
  }

 private:
  // A text counts by its length, since many values can share it.
  void spend(const std::string& text) {
    constexpr size_t kMaxValues = 1'000'000;
    constexpr size_t kBytesOfOne = 64;
    values_ += 1 + text.size() / kBytesOfOne;
    if (values_ > kMaxValues) {
      user_error("reading {}: its values are too many", path_);
    }
  }

  Json list(const PickleNode& node, int depth) {
    Json result = Json::array();
    for (const uint32_t item : node.items) {
      result.push_back(build(document_.at(item), depth + 1));
    }
    return result;
  }

  Json dict(const PickleNode& node, int depth) {
    Json result = Json::object();
    for (size_t i = 0; i < node.items.size(); i += 2) {
      const PickleNode& key = document_.at(node.items[i]);
      if (key.kind != kString) {
        user_error("reading {}: a dict has a key that is no string", path_);
      }
      spend(key.text);
      Json value = build(document_.at(node.items[i + 1]), depth + 1);
      if (!result.emplace(key.text, std::move(value)).second) {
        user_error("reading {}: a dict names '{}' twice", path_, key.text);
      }
    }
    return result;
  }

  const PickleDocument& document_;
  const std::string& path_;
  size_t values_ = 0;
};

}  // namespace

Json to_json(const PickleDocument& document, const PickleNode& node,
             const std::string& path) {
  return JsonBuilder(document, path).build(node, 0);
}

}  // namespace annuli
