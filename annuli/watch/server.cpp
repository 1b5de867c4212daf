#include "annuli/watch/server.h"

#include <fcntl.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "annuli/report/page.h"

namespace annuli::watch {
namespace {

using std::chrono::seconds;

constexpr seconds kForHead{5};        // to say what is asked for
constexpr seconds kForBytes{10};      // to take anything of an answer
constexpr seconds kForAnswer{60};     // to take the whole of it
constexpr seconds kBetweenSigns{15};  // of life, to who waits for events
constexpr int kSendBuffer = 1 << 18;
constexpr size_t kPiece = 1 << 16;

// Whether the socket is ready before the time is over; `stopping` ends it.
bool is_ready(int socket, int16_t events, Clock::time_point end,
              const std::atomic<bool>& stopping) {
  constexpr std::chrono::milliseconds kSlice{200};
  while (!stopping) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return false;
    pollfd one = {socket, events, 0};
    const int ready =
        ::poll(&one, 1, static_cast<int>(std::min(left, kSlice).count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
  return false;
}

// One connection, as the library sees it: it reads the head that was let
// through and then nothing, and writes to the socket.
class Connection : public httplib::Stream {
 public:
  Connection(int socket, const std::atomic<bool>& stopping)
      : socket_(socket), stopping_(stopping) {}

  // The head, and nothing behind it. A refusal if it does not come.
  std::optional<Refusal> read_head(std::string& head) const;
  // What the library shall see of it.
  void pass_on(std::string head, bool is_endless) {
    head_ = std::move(head);
    end_ = is_endless ? Clock::time_point::max() : Clock::now() + kForAnswer;
  }
  void refuse(const Refusal& refusal) {
    const std::string text = response_of(refusal);
    size_t done = 0;
    while (done < text.size()) {
      const ssize_t n = write(text.data() + done, text.size() - done);
      if (n < 0) return;
      done += static_cast<size_t>(n);
    }
  }

  bool is_readable() const override { return read_ < head_.size(); }
  bool is_writable() const override { return !stopping_; }
  ssize_t read(char* to, size_t size) override {
    const size_t count = std::min(size, head_.size() - read_);
    std::copy_n(head_.data() + read_, count, to);
    read_ += count;
    return static_cast<ssize_t>(count);
  }
  // -1 once it was waited for long enough.
  ssize_t write(const char* from, size_t size) override {
    const auto end = std::min(end_, Clock::now() + kForBytes);
    while (true) {
      const ssize_t n =
          ::send(socket_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n >= 0) return n;
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
      if (!is_ready(socket_, POLLOUT, end, stopping_)) return -1;
    }
  }
  // Nobody asks who it is.
  void get_remote_ip_and_port(std::string& ip, int& port) const override {}
  void get_local_ip_and_port(std::string& ip, int& port) const override {}
  socket_t socket() const override { return socket_; }

 private:
  int socket_;
  const std::atomic<bool>& stopping_;
  std::string head_;
  size_t read_ = 0;
  Clock::time_point end_ = Clock::time_point::max();
};

std::optional<Refusal> Connection::read_head(std::string& head) const {
  const auto end = Clock::now() + kForHead;
  std::array<char, 4096> part = {};
  while (is_ready(socket_, POLLIN, end, stopping_)) {
    const ssize_t n = ::recv(socket_, part.data(), part.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return Refusal{400, "the request has no end"};
    const size_t from = head.size() - std::min<size_t>(head.size(), 3);
    head.append(part.data(), static_cast<size_t>(n));
    const size_t blank = head.find("\r\n\r\n", from);
    if (std::min(blank, head.size()) > kLongestHead) {
      return Refusal{431, "the request's headers are too long"};
    }
    if (blank == head.npos) continue;
    head.resize(blank + 4);  // a body has no meaning here
    return std::nullopt;
  }
  return Refusal{408, "the request did not come within 5 s"};
}

// Closes so that an answer arrives even if something was sent that nobody has
// read.
void close_gently(int socket) {
  ::shutdown(socket, SHUT_WR);
  std::array<char, 4096> part = {};
  for (int i = 0; i < 64; ++i) {
    if (::recv(socket, part.data(), part.size(), MSG_DONTWAIT) <= 0) break;
  }
  ::close(socket);
}

// A thread for each connection, up to a number.
class Threads : public httplib::TaskQueue {
 public:
  // Set in a thread that must not take long: there are enough already.
  static inline thread_local bool is_full = false;

  void enqueue(std::function<void()> work) override {
    {
      std::unique_lock lock(mutex_);
      if (running_ < Server::kMostConnections) {
        try {
          std::thread([this, work] {
            work();
            const std::lock_guard done(mutex_);
            --running_;
            ended_.notify_all();
          }).detach();
          ++running_;
          return;
        } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch)
          // The system has no more; as if there were enough.
        }
      }
    }
    is_full = true;
    work();
    is_full = false;
  }
  void shutdown() override {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  int running_ = 0;
};

// A reader of events, counted as long as the answer lives.
class Reader {
 public:
  explicit Reader(LivePage& page) : page_(page) { page_.add_reader(); }
  ~Reader() { page_.remove_reader(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

 private:
  LivePage& page_;
};

// In pieces, out of what all readers share.
void give(httplib::Response& response, const Text& text, const char* type) {
  response.set_content_provider(
      text->size(), type,
      [text](size_t offset, size_t length, httplib::DataSink& sink) {
        return sink.write(text->data() + offset, std::min(length, kPiece));
      });
}

void refuse(httplib::Response& response, int status, const char* reason) {
  response.status = status;
  response.set_content(std::string(reason) + "\n", "text/plain");
}

}  // namespace

class Server::Http : public httplib::Server {
 public:
  Http(LivePage& page, Listener listener)
      : page_(page),
        listener_(std::move(listener)),
        at_(listener_.served_at()) {
    new_task_queue = [] { return new Threads; };
    set_default_headers(
        {{"Content-Security-Policy",
          report::served_page_policy() + "; frame-ancestors 'none'"},
         {"X-Content-Type-Options", "nosniff"},
         {"Cross-Origin-Resource-Policy", "same-origin"},
         {"Referrer-Policy", "no-referrer"},
         {"Cache-Control", "no-store"}});
    set_exception_handler([](const httplib::Request&, httplib::Response& answer,
                             const std::exception_ptr&) {
      refuse(answer, 500, "this could not be made");
    });
    set_handlers();
    thread_ = std::thread([this] { take_connections(); });
  }

  ~Http() override {
    // Who waits for events gets the last of them.
    const auto end = Clock::now() + seconds(1);
    while (page_.readers() > 0 && Clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    stopping_ = true;
    while (!is_running() && !ended_) std::this_thread::yield();
    if (is_running()) stop();
    thread_.join();
  }

 private:
  void take_connections();
  void set_handlers();
  void give_events(const httplib::Request& asked, httplib::Response& answer);
  void give_steps(const httplib::Request& asked, httplib::Response& answer);
  bool process_and_close_socket(socket_t socket) override;

  LivePage& page_;
  const Listener listener_;
  const ServedAt at_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

// The library closes its socket and gives up over a connection that its client
// has broken off too early; then it gets another one for the same port.
void Server::Http::take_connections() {
  while (!stopping_) {
    svr_sock_ = ::fcntl(listener_.descriptor(), F_DUPFD_CLOEXEC, 0);
    listen_after_bind();
    if (!stopping_) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ended_ = true;
}

void Server::Http::set_handlers() {
  Get("/", [this](const httplib::Request&, httplib::Response& answer) {
    give(answer, page_.page(), "text/html; charset=utf-8");
  });
  Get("/data", [this](const httplib::Request&, httplib::Response& answer) {
    give(answer, page_.data(), "application/json");
  });
  Get("/events",
      [this](const httplib::Request& asked, httplib::Response& answer) {
        give_events(asked, answer);
      });
  Get("/steps",
      [this](const httplib::Request& asked, httplib::Response& answer) {
        give_steps(asked, answer);
      });
}

void Server::Http::give_events(const httplib::Request& asked,
                               httplib::Response& answer) {
  if (page_.readers() >= kMostStreams) {
    return refuse(answer, 503, "too many are watching");
  }
  const auto revision = number_of(asked.get_param_value("revision"));
  if (!revision) return refuse(answer, 400, "expected ?server=S&revision=R");
  const auto place = std::make_shared<LivePage::Place>(
      LivePage::Place{asked.get_param_value("server"), *revision});
  answer.set_chunked_content_provider(
      "text/event-stream",
      [this, place, reader = std::make_shared<Reader>(page_)](
          size_t, httplib::DataSink& sink) {
        const Text text = page_.wait(*place, kBetweenSigns);
        if (text) return sink.write(text->data(), text->size());
        const std::string_view last = "event: end\ndata: 0\n\n";
        sink.write(last.data(), last.size());
        sink.done();
        return true;
      });
}

void Server::Http::give_steps(const httplib::Request& asked,
                              httplib::Response& answer) {
  const auto run = number_of(asked.get_param_value("run"));
  const auto from = number_of(asked.get_param_value("from"));
  const auto to = number_of(asked.get_param_value("to"));
  if (!run || !from || !to) {
    return refuse(answer, 400, "expected ?run=I&from=A&to=B");
  }
  auto steps = page_.steps(static_cast<size_t>(*run), *from, *to);
  if (!steps) return refuse(answer, 404, "there is no such run");
  give(answer, std::make_shared<const std::string>(std::move(*steps)),
       "application/json");
}

bool Server::Http::process_and_close_socket(socket_t socket) {
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
  Connection connection(socket, stopping_);
  std::string head;
  std::optional<Refusal> refusal;
  if (Threads::is_full) {
    refusal = Refusal{503, "too many ask at once; try again"};
  } else {
    refusal = connection.read_head(head);
    if (!refusal) refusal = refusal_of(head, at_);
  }
  bool done = false;
  if (refusal) {
    connection.refuse(*refusal);
  } else {
    connection.pass_on(passed_on(head),
                       head.find(" /events") < head.find("\r\n"));
    bool closed = false;
    done =
        process_request(connection, /*close_connection=*/true, closed, nullptr);
  }
  close_gently(socket);
  return done;
}

Server::Server(LivePage& page, Listener listener)
    : page_(page), http_(std::make_unique<Http>(page, std::move(listener))) {}

Server::~Server() { page_.end(); }

}  // namespace annuli::watch
