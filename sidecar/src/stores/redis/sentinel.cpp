#include "stores/redis/sentinel.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "stores/redis/connection.h"
#include "stores/redis/error.h"

namespace apex::redis {

Sentinels::Sentinels(const Target& target) : target_(target), known_(target.addresses) {}

Result<net::Address> Sentinels::FindPrimary(Deadline deadline) {
  std::string why;
  for (size_t i = 0; i < known_.size(); ++i) {
    const auto left = static_cast<int64_t>(known_.size() - i);
    Result<net::Address> primary = Ask(known_[i], Deadline::After(deadline.remaining() / left));
    if (primary.ok()) {
      std::rotate(known_.begin(), known_.begin() + static_cast<ptrdiff_t>(i),
                  known_.begin() + static_cast<ptrdiff_t>(i) + 1);
      return primary;
    }
    why = primary.error().message;
  }
  return ClientError("connect", ErrorKind::kTransient, kUnreachable,
                     fmt::format("no sentinel names a primary {}: {}", target_.service, why));
}

Result<net::Address> Sentinels::Ask(const net::Address& sentinel, Deadline deadline) const {
  auto login = std::make_shared<Login>();
  login->password = target_.sentinel_password;
  login->tls = target_.tls;
  Connection connection(login, [&sentinel](Deadline) { return Result<net::Address>(sentinel); });
  const auto replies = connection.Exchange(
      "connect", {{"SENTINEL", "GET-MASTER-ADDR-BY-NAME", target_.service}}, deadline);
  if (!replies.ok()) return replies.error();
  const Reply& reply = replies->front();
  if (reply.type == Reply::Type::kError) return ReplyError("connect", reply.text);
  net::Address primary;
  if (reply.elements.size() == 2) {
    primary.host = reply.elements[0].text;
    const std::string& port = reply.elements[1].text;
    std::from_chars(port.data(), port.data() + port.size(), primary.port);
  }
  if (primary.host.empty() || primary.port == 0) {
    return ClientError(
        "connect", ErrorKind::kTransient, kUnreachable,
        fmt::format("the sentinel at {} knows no primary of that name", net::ToString(sentinel)));
  }
  return primary;
}

}  // namespace apex::redis
