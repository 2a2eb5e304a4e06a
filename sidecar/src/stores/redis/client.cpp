#include "stores/redis/client.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "stores/redis/cluster_client.h"
#include "stores/redis/error.h"
#include "stores/redis/scanner.h"
#include "stores/redis/sentinel.h"

namespace apex::redis {
namespace {

std::string Sha1(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

/// One server at a time, wherever it is.
class ServerClient : public Client {
 public:
  ServerClient(const std::shared_ptr<const Login>& login, const Connection::Resolve& resolve)
      : Client(login->scripts), connection_(login, resolve), scanner_(login, resolve) {}

  Result<std::vector<std::string>> Scan(std::string_view operation, const PatternSet& patterns,
                                        ScanPass& pass, Deadline deadline) override {
    auto keys = scanner_.Page(operation, patterns, pass.cursor, deadline);
    pass.over = keys.ok() && pass.cursor == "0";
    return keys;
  }
  Result<std::vector<Reply>> RunEverywhere(std::string_view operation, const Commands& commands,
                                           Deadline deadline) override {
    return Run(operation, commands, deadline);
  }
  bool has_slots() const override { return false; }

 protected:
  void SetClaims(std::shared_ptr<Claims> claims) override { connection_.Claim(std::move(claims)); }
  Result<std::vector<Reply>> Exchange(std::string_view operation, const Commands& commands,
                                      Deadline deadline) override {
    return connection_.Exchange(operation, commands, deadline);
  }
  void Reconnect() override {
    connection_.Close();
    scanner_.Close();
  }

 private:
  Connection connection_;
  Scanner scanner_;
};

}  // namespace

std::unique_ptr<Client> Client::Make(const Target& target, std::vector<std::string> scripts) {
  Login login{.user = target.user,
              .password = target.password,
              .database = target.database,
              .tls = target.tls,
              .scripts = std::move(scripts)};
  switch (target.kind) {
    case Target::Kind::kCluster:
      return std::make_unique<ClusterClient>(std::move(login), target.addresses);
    case Target::Kind::kSentinel:
      login.primary = true;
      return std::make_unique<ServerClient>(
          std::make_shared<const Login>(std::move(login)),
          [sentinels = std::make_shared<Sentinels>(target)](Deadline deadline) {
            return sentinels->FindPrimary(deadline);
          });
    case Target::Kind::kServer: break;
  }
  return std::make_unique<ServerClient>(
      std::make_shared<const Login>(std::move(login)),
      [address = target.addresses.front()](Deadline) { return Result<net::Address>(address); });
}

Client::Client(const std::vector<std::string>& scripts) {
  std::ranges::transform(scripts, std::back_inserter(digests_), Sha1);
}

void Client::Claim(const Fence& fence) {
  if (!fence.confirm) return;
  const bool known = claims_ && claims_->fence.epoch == fence.epoch &&
                     claims_->fence.pipeline == fence.pipeline &&
                     claims_->fence.database == fence.database;
  if (known) return;
  claims_ = std::make_shared<Claims>(Claims{.fence = fence});
  SetClaims(claims_);
}

Result<std::vector<Reply>> Client::Run(std::string_view operation, const Commands& commands,
                                       Deadline deadline) {
  Result<std::vector<Reply>> result = RunOnce(operation, commands, deadline);
  if (!result.ok() && result.error().native_code == "NOSCRIPT")
    return RunOnce(operation, commands, deadline);
  return result;
}

Result<std::vector<Reply>> Client::RunOnce(std::string_view operation, const Commands& commands,
                                           Deadline deadline) {
  Result<std::vector<Reply>> replies = Exchange(operation, commands, deadline);
  if (!replies.ok()) return replies;
  const Reply* refused = nullptr;
  for (const Reply& reply : *replies) {
    if (reply.type != Reply::Type::kError) continue;
    if (refused == nullptr || Classify(reply.text) == ErrorKind::kTransient) refused = &reply;
  }
  if (refused == nullptr) return replies;
  if (NeedsNewConnection(refused->text)) Reconnect();
  return ReplyError(operation, refused->text);
}

}  // namespace apex::redis
