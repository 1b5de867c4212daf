#pragma once

#include <memory>

#include "annuli/watch/listener.h"
#include "annuli/watch/live_page.h"

// Serves a LivePage over HTTP, in threads of its own, until it is destroyed.
//
//   /        the page                 /data    its data, as JSON
//   /events  what changes in it, as a text/event-stream (?server=S&revision=R)
//   /steps   more steps of a run (?run=I&from=A&to=B)
//
// Nothing else, and only for GET and HEAD with a Host that names the server
// (request_check.h). One request a connection. A request that does not come
// within some seconds, a reader that takes nothing for as long, and what is
// beyond the numbers below is let go of with one line; nobody waits for
// somebody else.
namespace annuli::watch {

class Server {
 public:
  static constexpr int kMostConnections = 160;
  static constexpr int kMostStreams = 120;  // of these, /events

  // The page is borrowed.
  Server(LivePage& page, Listener listener);
  // Gives those who wait for events what there is, and ends.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  class Http;
  LivePage& page_;
  std::unique_ptr<Http> http_;
};

}  // namespace annuli::watch
