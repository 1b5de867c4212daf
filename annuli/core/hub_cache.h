#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "annuli/core/file.h"

// The cache in which huggingface_hub keeps what it fetched:
//
//   HUB/models--acme--tiny/refs/main               the name of a snapshot
//   HUB/models--acme--tiny/snapshots/0123.../...   links into blobs/
//
// Read as huggingface_hub reads it when it is offline; nothing is fetched.
namespace annuli {

// Where the cache lies: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
// XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub: the first that is
// set. "~" at the beginning is the user's home.
fs::path hub_cache();

// A repository of the hub as a user names it.
struct HubName {
  std::string id;                 // "acme/tiny", or "gpt2" of old
  std::string revision = "main";  // a branch, a tag or a commit
};

// "acme/tiny"; with a scheme, also "https://huggingface.co/acme/tiny",
// ".../tree/REVISION", "hf.co/acme/tiny", "hf://acme/tiny@REVISION". Nothing if
// it can be no such name. A word without a slash can be one ("gpt2").
std::optional<HubName> hub_name(std::string_view text);

// Whether the text says by itself that it is no path: it has a scheme or names
// the hub's host.
bool is_hub_url(std::string_view text);

// The folder of the cache that a repository has, whether it is there or not.
fs::path hub_repository(const std::string& id);

// The snapshot that a revision means in a repository's folder; nothing if it
// is not there.
std::optional<fs::path> hub_snapshot(const fs::path& repository,
                                     const std::string& revision = "main");

// The id of the repository in whose folder of a cache the path lies, or "".
std::string hub_id_of(const fs::path& path);

}  // namespace annuli
