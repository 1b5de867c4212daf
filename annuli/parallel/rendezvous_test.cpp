#include "annuli/parallel/rendezvous.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "annuli/parallel/peers.h"

namespace annuli::parallel {
namespace {

using test::Ended;
using test::Environment;
using test::Meet;
using test::meeting;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

// What a peer ends with that has waited for another one in vain, which is 2
// after 40.
constexpr int kInVain = 42;

// Refused with one line, which is returned.
std::string refused(const Ended& peer, int status = 2) {
  EXPECT_EQ(peer.status, status) << peer.out;
  EXPECT_EQ(std::ranges::count(peer.err, '\n'), 1) << peer.err;
  return peer.err;
}

Ended alone(const Environment& environment,
            const std::string& scenario = "joins_soon") {
  return test::Program(test::peer(scenario), environment).wait();
}

std::vector<Ended> run(const std::vector<Environment>& environments,
                       const std::string& scenario) {
  auto peers = test::start_peers(environments, scenario);
  return test::wait_for(peers);
}

// A port of this host that is in use.
class Listener {
 public:
  Listener() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(socket_, plain, size), 0);
    EXPECT_EQ(::listen(socket_, 4), 0);
    EXPECT_EQ(::getsockname(socket_, plain, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { ::close(socket_); }
  std::string port() const { return std::to_string(port_); }

 private:
  int socket_;
  int port_ = 0;
};

TEST(Rendezvous, APortThatIsInUse) {
  const Listener listener;
  auto environments = meeting(Meet::kPort, 2);
  for (Environment& one : environments) one["MASTER_PORT"] = listener.port();
  const auto ended = run(environments, "joins_soon");
  EXPECT_THAT(refused(ended[0]),
              AllOf(HasSubstr("port " + listener.port() + " is in use"),
                    HasSubstr("MASTER_PORT")));
  // Whoever listens there does not answer the others.
  EXPECT_THAT(refused(ended[1]), HasSubstr("127.0.0.1:" + listener.port()));
}

TEST(Rendezvous, AServerThatDoesNotCome) {
  const auto environments = meeting(Meet::kPort, 2);
  EXPECT_THAT(refused(alone(environments[1])),
              AllOf(HasSubstr("rank 1 on "),
                    HasSubstr("no answer from 127.0.0.1:" +
                              environments[1].at("MASTER_PORT"))));
}

TEST(Rendezvous, AHostThatDoesNotExist) {
  auto environment = meeting(Meet::kPort, 2)[1];
  environment["MASTER_ADDR"] = "no-such-host.invalid";
  EXPECT_THAT(refused(alone(environment)), HasSubstr("no-such-host.invalid"));
}

// Who waits longest, on a busy machine, may find that the other has given up.
TEST(Rendezvous, WhoIsMissingIsNamed) {
  for (const Meet meet : {Meet::kFile, Meet::kPort}) {
    auto environments = meeting(meet, 4);
    environments.erase(environments.begin() + 1, environments.begin() + 3);
    std::string all;
    for (const Ended& peer : run(environments, "joins_soon")) {
      const bool in_vain = peer.status == kInVain;
      const std::string text = refused(peer, in_vain ? kInVain : 2);
      EXPECT_THAT(text, HasSubstr(in_vain ? "1, 2 of 4 did not come"
                                          : "has ended meanwhile"));
      all += text;
    }
    EXPECT_THAT(all, HasSubstr("1, 2 of 4 did not come"));
  }
}

TEST(Rendezvous, OneThatHasGoneIsNotWaitedFor) {
  auto environments = meeting(Meet::kFile, 4);
  environments.pop_back();
  auto peers = test::start_peers(environments, "nothing");
  ::sleep(5);                  // until it has come
  peers.erase(peers.begin());  // kills it
  for (const Ended& peer : test::wait_for(peers)) {
    EXPECT_THAT(refused(peer), HasSubstr("meanwhile"));
  }
}

TEST(Rendezvous, TheFirstIsMissing) {
  const auto environments = meeting(Meet::kFile, 2);
  EXPECT_THAT(refused(alone(environments[1]), kInVain),
              AllOf(HasSubstr("rank 0 of 2 did not come"),
                    Not(HasSubstr("connecting"))));
}

TEST(Rendezvous, AnInterfaceThatDoesNotExist) {
  auto environment = meeting(Meet::kFile, 2)[0];
  environment["GLOO_SOCKET_IFNAME"] = "eth99";
  EXPECT_THAT(refused(alone(environment)),
              AllOf(HasSubstr("GLOO_SOCKET_IFNAME='eth99'"), HasSubstr("lo")));
}

TEST(Rendezvous, AnInterfaceThatIsChosen) {
  auto environments = meeting(Meet::kFile, 2);
  for (Environment& one : environments) one["GLOO_SOCKET_IFNAME"] = "lo";
  for (const Ended& peer : run(environments, "operations")) {
    EXPECT_EQ(peer.status, 0) << peer.err;
  }
}

TEST(Rendezvous, ARankThatComesTwice) {
  auto environments = meeting(Meet::kFile, 2);
  environments[1]["ANNULI_RANK"] = "0";
  const auto ended = run(environments, "joins_soon");
  const std::string both = ended[0].err + ended[1].err;
  EXPECT_THAT(ended[0].status, AnyOf(2, kInVain));
  EXPECT_THAT(ended[1].status, AnyOf(2, kInVain));
  EXPECT_THAT(both, HasSubstr("rank 0 came 2 times"));
}

TEST(Rendezvous, AnotherNumberOfProcesses) {
  auto environments = meeting(Meet::kFile, 2);
  environments[0]["ANNULI_PROCESSES"] = "4";
  for (const Ended& peer : run(environments, "joins_soon")) {
    EXPECT_EQ(peer.status, 2);
    EXPECT_THAT(peer.err,
                AllOf(HasSubstr("expects 2"), HasSubstr("expects 4")));
  }
}

TEST(Rendezvous, AFolderThatOthersCanWrite) {
  auto environment = meeting(Meet::kFile, 2)[0];
  environment["ANNULI_STORE"] = "/tmp/store";
  EXPECT_THAT(refused(alone(environment)), HasSubstr("/tmp"));
}

TEST(Rendezvous, FactsThatAreTheSame) {
  for (const Ended& peer : run(meeting(Meet::kFile, 4), "same_facts")) {
    EXPECT_EQ(peer.status, 0) << peer.err;
  }
}

TEST(Rendezvous, TheFirstFactThatDiffers) {
  for (const Ended& peer : run(meeting(Meet::kFile, 4), "other_facts")) {
    EXPECT_THAT(refused(peer),
                AllOf(HasSubstr("the program is '2.0' for rank 1 on "),
                      HasSubstr("'1.0' for rank 0 on ")));
  }
}

}  // namespace
}  // namespace annuli::parallel
