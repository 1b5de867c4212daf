#ifndef ANNULI_PARALLEL_GLOO_TYPES_H
#define ANNULI_PARALLEL_GLOO_TYPES_H

#include <chrono>
#include <string>
#include <vector>

// The types of Gloo that the header of c10d's Gloo group names. The wheel holds
// the library with all of Gloo inside, but not Gloo's headers; CMakeLists.txt
// gives this file their names, for c10d_group.cpp alone.
//
// Nothing here is made, copied or called by us, so that no layout and no table
// of virtual functions is relied on.
namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace rendezvous {

class Store {
 public:
  virtual ~Store();
  virtual void set(const std::string& key, const std::vector<char>& data) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys,
                    const std::chrono::milliseconds& timeout) = 0;
};

}  // namespace rendezvous

namespace transport {

class Device;

class UnboundBuffer {
 public:
  virtual ~UnboundBuffer();
};

}  // namespace transport
}  // namespace gloo

#endif
