// A Bolt server made of a script, for answers that no healthy server gives.
//
// Serves on loopback from a thread of its own, one client after the other and a script for each;
// the destructor waits until the client it serves has gone.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "stores/neo4j/bolt_connection.h"

namespace apex::neo4j {

inline constexpr uint8_t kSuccess = 0x70, kRecord = 0x71, kIgnored = 0x7E, kFailure = 0x7F;

/// A listening socket on loopback and the thread that serves its clients.
class ScriptedServer {
 public:
  /// The client's end of the conversation; everything blocks.
  class Peer {
   public:
    explicit Peer(int descriptor) : descriptor_(descriptor) {}
    ~Peer() { close(descriptor_); }

    void HangUp() { shutdown(descriptor_, SHUT_RDWR); }
    /// Says nothing any more and goes on listening.
    void FallSilent() { shutdown(descriptor_, SHUT_WR); }
    void Send(std::string_view bytes) {
      (void)!send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }

    std::string ReceiveBytes(size_t size) {
      std::string bytes(size, '\0');
      (void)!recv(descriptor_, bytes.data(), size, MSG_WAITALL);
      return bytes;
    }

    /// The tag of the next message; 0 when the client has gone.
    uint8_t ReceiveTag() {
      for (;;) {
        if (auto message = dechunker_.Next()) {
          last_ = *message;
          return static_cast<uint8_t>(message->at(1));
        }
        char buffer[4096];
        const ssize_t got = recv(descriptor_, buffer, sizeof buffer, 0);
        if (got <= 0) return 0;
        dechunker_.input().append(buffer, static_cast<size_t>(got));
      }
    }

    packstream::Value last() const {
      std::string_view bytes = last_;
      return packstream::Decode(bytes).value_or(packstream::Value{});
    }

    void Answer(uint8_t tag, const std::function<void(packstream::Writer&)>& body) {
      std::string message;
      packstream::Writer out(message);
      out.StructureHeader(1, tag);
      body(out);
      std::string chunked(2, '\0');  // A sign of life first: clients must pass over it.
      AppendChunked(message, chunked);
      Send(chunked);
    }

    void Succeed() {
      Answer(kSuccess, [](packstream::Writer& out) { out.MapHeader(0); });
    }

    void Count(int64_t rows) {
      Answer(kRecord, [rows](packstream::Writer& out) {
        out.ListHeader(1);
        out.Int(rows);
      });
    }

    void Fail(std::string_view member, std::string_view code) {
      Answer(kFailure, [&](packstream::Writer& out) {
        out.MapHeader(2);
        out.String(member);
        out.String(code);
        out.String("message");
        out.String("the server's own words");
      });
    }

    void Ignore() {
      Answer(kIgnored, [](packstream::Writer& out) { out.MapHeader(0); });
    }

    /// Handshake, HELLO and LOGON of the given version.
    void Welcome(int major, int minor) {
      ReceiveBytes(20);
      Send(std::string{0, 0, static_cast<char>(minor), static_cast<char>(major)});
      ReceiveTag();
      hello = last();
      Succeed();
      if (major == 5 && minor >= 1) {
        ReceiveTag();
        logon = last();
        Succeed();
      }
    }

    /// Answers ROUTE with a table of these.
    void Route(const std::vector<Address>& routers, const std::vector<Address>& writers) {
      EXPECT_EQ(ReceiveTag(), 0x66);
      Answer(kSuccess, [&](packstream::Writer& out) {
        out.MapHeader(1);
        out.String("rt");
        out.MapHeader(1);
        out.String("servers");
        out.ListHeader(2);
        const auto servers = [&out](std::string_view role, const std::vector<Address>& addresses) {
          out.MapHeader(2);
          out.String("role");
          out.String(role);
          out.String("addresses");
          out.ListHeader(addresses.size());
          for (const Address& address : addresses) out.String(ToString(address));
        };
        servers("ROUTE", routers);
        servers("WRITE", writers);
      });
    }

    packstream::Value hello, logon;

   private:
    int descriptor_;
    Dechunker dechunker_;
    std::string last_;
  };

  using Script = std::function<void(Peer&)>;

  explicit ScriptedServer(Script script) : ScriptedServer(std::vector<Script>{std::move(script)}) {}

  explicit ScriptedServer(std::vector<Script> scripts) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, scripts = std::move(scripts)] {
      for (const Script& script : scripts) {
        const int client = accept(listener_, nullptr, nullptr);
        if (client < 0) return;
        Peer peer(client);
        script(peer);
        while (peer.ReceiveTag() != 0) {
        }
      }
    });
  }

  ~ScriptedServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  Uri uri() const {
    Uri uri;
    uri.address = Address{"127.0.0.1", port_};
    return uri;
  }

  Result<std::unique_ptr<BoltConnection>> Open(const Uri& uri) const {
    return BoltConnection::Open(uri.address, uri, {"neo4j", "secret"},
                                Deadline::After(std::chrono::seconds(60)));
  }

 private:
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace apex::neo4j
