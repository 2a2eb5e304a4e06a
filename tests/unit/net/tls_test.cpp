// Whom the client trusts: a TLS server on loopback that shows a certificate made for the test.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "net/errors.h"
#include "net/transport.h"

namespace apex::net {
namespace {

using ::testing::HasSubstr;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Deadline Soon() { return Deadline::After(std::chrono::seconds(60)); }

Result<std::unique_ptr<Transport>> Connect(const Address& address, const Tls& tls) {
  return Transport::Connect(Store::kRedis, address, tls, Soon());
}

/// A certificate that signs itself and stands for `names`, in OpenSSL's notation.
Certificate SelfSigned(EVP_PKEY* key, const char* names) {
  Certificate certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const auto* common_name = reinterpret_cast<const unsigned char*>("apex test");
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, common_name, -1, -1, 0);
  X509_set_issuer_name(certificate.get(), subject);
  X509_EXTENSION* san = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names);
  X509_add_ext(certificate.get(), san, -1);
  X509_EXTENSION_free(san);
  X509_sign(certificate.get(), key, EVP_sha256());
  return certificate;
}

/// Echoes what one client sends, until it goes away.
class EchoServer {
 public:
  explicit EchoServer(const char* names)
      : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(SelfSigned(key_.get(), names)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }

  ~EchoServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  uint16_t port() const { return port_; }

  void WriteCertificate(const std::string& path) const {
    FILE* file = std::fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    PEM_write_X509(file, certificate_.get());
    std::fclose(file);
  }

 private:
  void Serve() {
    const int client = accept(listener_, nullptr, nullptr);
    if (client < 0) return;
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context, certificate_.get());
    SSL_CTX_use_PrivateKey(context, key_.get());
    SSL* session = SSL_new(context);
    SSL_set_fd(session, client);
    if (SSL_accept(session) == 1) {
      std::string buffer(1 << 16, '\0');
      int got = 0;
      while ((got = SSL_read(session, buffer.data(), static_cast<int>(buffer.size()))) > 0 &&
             SSL_write(session, buffer.data(), got) > 0) {
      }
    }
    SSL_free(session);
    SSL_CTX_free(context);
    close(client);
  }

  Key key_;
  Certificate certificate_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
};

class TlsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    trusted_ =
        std::filesystem::temp_directory_path() / ("apex-tls-" + std::to_string(getpid()) + ".pem");
  }

  void TearDown() override {
    unsetenv("SSL_CERT_FILE");
    std::filesystem::remove(trusted_);
  }

  void Trust(const EchoServer& server) {
    server.WriteCertificate(trusted_);
    setenv("SSL_CERT_FILE", trusted_.c_str(), 1);
  }

  std::filesystem::path trusted_;
};

void ExpectEcho(Transport& transport) {
  std::string sent;
  for (int i = 0; i < 30000; ++i) sent.push_back(static_cast<char>(i));
  ASSERT_TRUE(transport.Write(sent, Soon()).ok());
  std::string received;
  while (received.size() < sent.size()) {
    Status status = transport.Read(received, Soon());
    ASSERT_TRUE(status.ok()) << Describe(status.error());
  }
  EXPECT_TRUE(received == sent);
  EXPECT_TRUE(transport.ReadAvailable(received).ok());
}

TEST_F(TlsTest, TakesAnyCertificateOnlyWhenAskedTo) {
  EchoServer server("DNS:elsewhere.example");
  auto transport = Connect({"127.0.0.1", server.port()}, Tls{.verify = false});
  ASSERT_TRUE(transport.ok()) << Describe(transport.error());
  ExpectEcho(**transport);
}

TEST_F(TlsTest, RefusesACertificateNobodyTrusts) {
  EchoServer server("IP:127.0.0.1");
  auto transport = Connect({"127.0.0.1", server.port()}, Tls{});
  ASSERT_FALSE(transport.ok());
  EXPECT_EQ(transport.error().native_code, kTlsFailed);
  EXPECT_EQ(transport.error().kind, ErrorKind::kTransient);
  EXPECT_THAT(transport.error().message, HasSubstr("self"));
}

TEST_F(TlsTest, TakesATrustedCertificateThatNamesTheAddress) {
  EchoServer server("IP:127.0.0.1");
  Trust(server);
  auto transport = Connect({"127.0.0.1", server.port()}, Tls{});
  ASSERT_TRUE(transport.ok()) << Describe(transport.error());
  ExpectEcho(**transport);
}

TEST_F(TlsTest, TakesATrustedCertificateThatNamesTheHost) {
  EchoServer server("DNS:localhost");
  Trust(server);
  auto transport = Connect({"localhost", server.port()}, Tls{});
  ASSERT_TRUE(transport.ok()) << Describe(transport.error());
  ExpectEcho(**transport);
}

TEST_F(TlsTest, RefusesATrustedCertificateOfAnotherHost) {
  for (const char* host : {"127.0.0.1", "localhost"}) {
    // A name that contains the host's is another one all the same.
    EchoServer server("DNS:localhost.elsewhere.example,DNS:elsewhere.example,IP:127.0.0.2");
    Trust(server);
    auto transport = Connect({host, server.port()}, Tls{});
    ASSERT_FALSE(transport.ok()) << host;
    EXPECT_EQ(transport.error().native_code, kTlsFailed);
    EXPECT_THAT(transport.error().message, HasSubstr("mismatch"));
  }
}

TEST_F(TlsTest, SaysSoWhenTheServerSpeaksNoTls) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  socklen_t size = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::thread server([listener] {
    const int client = accept(listener, nullptr, nullptr);
    (void)!send(client, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
    shutdown(client, SHUT_WR);
    char ignored[512];
    while (recv(client, ignored, sizeof ignored, 0) > 0) {
    }
    close(client);
  });
  auto transport = Connect({"127.0.0.1", ntohs(address.sin_port)}, Tls{.verify = false});
  server.join();
  close(listener);
  ASSERT_FALSE(transport.ok());
  EXPECT_EQ(transport.error().native_code, kTlsFailed);
}

}  // namespace
}  // namespace apex::net
