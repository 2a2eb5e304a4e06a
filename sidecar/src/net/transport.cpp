#include "net/transport.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <utility>

#include "net/errors.h"
#include "net/socket.h"

namespace apex::net {
namespace {

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(Socket socket) : socket_(std::move(socket)) {}

  Status Write(std::string_view data, Deadline deadline) override {
    return socket_.Send(data, deadline);
  }
  Status Read(std::string& into, Deadline deadline) override {
    return socket_.Receive(into, deadline);
  }
  Status ReadAvailable(std::string& into) override { return socket_.ReceiveAvailable(into); }

 private:
  Socket socket_;
};

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSession {
  void operator()(SSL* session) const { SSL_free(session); }
};

StoreError TlsError(Store store, std::string message) {
  return {
      store,       "connect", ErrorKind::kTransient, std::string(kTlsFailed), std::move(message),
      std::nullopt};
}

StoreError TlsError(Store store, SSL* session) {
  std::string message = "TLS: ";
  const long verified = session == nullptr ? X509_V_OK : SSL_get_verify_result(session);
  const unsigned long error = ERR_get_error();
  if (verified != X509_V_OK) {
    message += X509_verify_cert_error_string(verified);
  } else if (error != 0) {
    std::array<char, 256> text{};
    ERR_error_string_n(error, text.data(), text.size());
    message += text.data();
  } else {
    message += "the server ended the session";
  }
  ERR_clear_error();
  return TlsError(store, std::move(message));
}

/// OpenSSL works on memory here and the socket moves the bytes: so deadlines hold, and a broken
/// pipe raises no signal.
class TlsTransport : public Transport {
 public:
  TlsTransport(Store store, Socket socket) : store_(store), socket_(std::move(socket)) {}

  Status Handshake(const std::string& host, const Tls& tls, Deadline deadline) {
    if (!SetUp(tls) || !SetUpSession(host)) return TlsError(store_, nullptr);
    for (;;) {
      const int done = SSL_do_handshake(session_.get());
      const int reason = done == 1 ? SSL_ERROR_NONE : SSL_get_error(session_.get(), done);
      // Also when it failed: the alert tells the server why.
      if (Status status = SendPending(deadline); !status.ok()) return status;
      if (reason == SSL_ERROR_NONE) return {};
      if (reason != SSL_ERROR_WANT_READ) return TlsError(store_, session_.get());
      if (Status status = ReceivePending(deadline); !status.ok()) {
        if (status.error().native_code != kConnectionLost) return status;
        return TlsError(store_, "TLS: the server closed the connection; it may not speak TLS");
      }
    }
  }

  Status Write(std::string_view data, Deadline deadline) override {
    while (!data.empty()) {
      // In pieces, so that the encrypted copy of a large flush never stands in memory whole.
      const std::string_view piece = data.substr(0, kPieceBytes);
      size_t written = 0;
      if (SSL_write_ex(session_.get(), piece.data(), piece.size(), &written) != 1)
        return TlsError(store_, session_.get());
      data.remove_prefix(written);
      if (Status status = SendPending(deadline); !status.ok()) return status;
    }
    return {};
  }

  Status Read(std::string& into, Deadline deadline) override {
    const size_t before = into.size();
    for (;;) {
      if (Status status = Decrypt(into); !status.ok() || into.size() > before) return status;
      if (Status status = ReceivePending(deadline); !status.ok()) return status;
    }
  }

  Status ReadAvailable(std::string& into) override {
    std::string encrypted;
    if (Status status = socket_.ReceiveAvailable(encrypted); !status.ok()) return status;
    BIO_write(incoming_, encrypted.data(), static_cast<int>(encrypted.size()));
    return Decrypt(into);
  }

 private:
  static constexpr size_t kPieceBytes = 256 << 10;

  /// What a file lacks is said by OpenSSL with the file's name left out.
  bool SetUp(const Tls& tls) {
    ERR_clear_error();
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX* const context = context_.get();
    if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
      return false;
    if (!tls.cert_file.empty() &&
        (SSL_CTX_use_certificate_chain_file(context, tls.cert_file.c_str()) != 1 ||
         SSL_CTX_use_PrivateKey_file(context, tls.key_file.c_str(), SSL_FILETYPE_PEM) != 1)) {
      return false;
    }
    SSL_CTX_set_verify(context, tls.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    if (!tls.verify) return true;
    return tls.ca_file.empty()
               ? SSL_CTX_set_default_verify_paths(context) == 1
               : SSL_CTX_load_verify_locations(context, tls.ca_file.c_str(), nullptr) == 1;
  }

  bool SetUpSession(const std::string& host) {
    session_.reset(SSL_new(context_.get()));
    incoming_ = BIO_new(BIO_s_mem());
    outgoing_ = BIO_new(BIO_s_mem());
    if (!session_ || incoming_ == nullptr || outgoing_ == nullptr) {
      BIO_free(incoming_);
      BIO_free(outgoing_);
      return false;
    }
    SSL_set_bio(session_.get(), incoming_, outgoing_);
    SSL_set_connect_state(session_.get());

    // A certificate names an IP address in another field than a host, and SNI takes only host
    // names.
    std::array<unsigned char, sizeof(in6_addr)> binary;
    const bool numeric = inet_pton(AF_INET, host.c_str(), binary.data()) == 1 ||
                         inet_pton(AF_INET6, host.c_str(), binary.data()) == 1;
    if (numeric)
      return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), host.c_str()) == 1;
    return SSL_set_tlsext_host_name(session_.get(), host.c_str()) == 1 &&
           SSL_set1_host(session_.get(), host.c_str()) == 1;
  }

  Status SendPending(Deadline deadline) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(outgoing_, &data);
    if (size <= 0) return {};
    Status status = socket_.Send(std::string_view(data, static_cast<size_t>(size)), deadline);
    BIO_reset(outgoing_);
    return status;
  }

  Status ReceivePending(Deadline deadline) {
    std::string encrypted;
    if (Status status = socket_.Receive(encrypted, deadline); !status.ok()) return status;
    BIO_write(incoming_, encrypted.data(), static_cast<int>(encrypted.size()));
    return {};
  }

  Status Decrypt(std::string& into) {
    std::array<char, 16 << 10> buffer;
    for (;;) {
      size_t read = 0;
      const int done = SSL_read_ex(session_.get(), buffer.data(), buffer.size(), &read);
      if (done == 1) {
        into.append(buffer.data(), read);
        continue;
      }
      if (SSL_get_error(session_.get(), done) == SSL_ERROR_WANT_READ) return {};
      return TlsError(store_, session_.get());
    }
  }

  const Store store_;
  Socket socket_;
  std::unique_ptr<SSL_CTX, FreeContext> context_;
  std::unique_ptr<SSL, FreeSession> session_;
  BIO* incoming_ = nullptr;  ///< Both owned by session_.
  BIO* outgoing_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Transport>> Transport::Connect(Store store, const Address& address,
                                                      const std::optional<Tls>& tls,
                                                      Deadline deadline) {
  Result<Socket> socket = Socket::Connect(store, address, deadline);
  if (!socket.ok()) return socket.error();
  if (!tls) return std::unique_ptr<Transport>(new PlainTransport(*std::move(socket)));
  auto transport = std::make_unique<TlsTransport>(store, *std::move(socket));
  Status status = transport->Handshake(address.host, *tls, deadline);
  if (!status.ok()) return status.error();
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace apex::net
