// How long after a commit the listener is awake.
//
//   wake DSN WRITERS COMMITS_PER_SECOND SECONDS        0 commits a second: as many as go
//
// Writers insert single rows into the attached and empty table `pulse`, each in a session of its
// own and at times fixed beforehand: a commit that took long does not thin out those behind it. One
// listener does what the sidecar does: arm, look, sleep until the notification, look. A writer's
// rows are numbered, so a look finds out by the highest number of each writer which commits it was
// the first to see. A commit's latency runs from its acknowledgement to the beginning of that look,
// and is 0 when the look was faster than the acknowledgement. Prints one line of JSON.
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kSleepMax{100};
// Each session has one. Named, because a simple query drops the one without a name.
constexpr char kStatement[] = "statement";
constexpr char kInsert[] =
    "INSERT INTO pulse SELECT $1::int, $2::bigint, 'Title of a document', 'https://example.org/a', "
    "repeat('0123456789abcdef', 14), now(), array_fill(0.25::real, ARRAY[32])";
constexpr char kLook[] =
    "SELECT coalesce((SELECT max(n) FROM pulse WHERE writer = w), 0) "
    "FROM generate_series(0, $1::int - 1) AS w ORDER BY w";

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

class Session {
 public:
  explicit Session(const char* dsn) : connection_(PQconnectdb(dsn), PQfinish) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) Fail();
  }

  Result Run(const char* sql) { return Checked(PQexec(connection_.get(), sql)); }
  void Prepare(const char* sql) {
    Checked(PQprepare(connection_.get(), kStatement, sql, 0, nullptr));
  }
  Result RunPrepared(const std::vector<const char*>& values) {
    return Checked(PQexecPrepared(connection_.get(), kStatement, static_cast<int>(values.size()),
                                  values.data(), nullptr, nullptr, 0));
  }

  /// Waits for notifications up to `kSleepMax`, or not at all, and says how many came.
  int Notifications(bool wait) {
    pollfd socket{PQsocket(connection_.get()), POLLIN, 0};
    poll(&socket, 1, wait ? static_cast<int>(kSleepMax.count()) : 0);
    if (PQconsumeInput(connection_.get()) == 0) Fail();
    int count = 0;
    while (PGnotify* notification = PQnotifies(connection_.get())) {
      PQfreemem(notification);
      ++count;
    }
    return count;
  }

 private:
  [[noreturn]] void Fail() { throw std::runtime_error(PQerrorMessage(connection_.get())); }
  Result Checked(PGresult* returned) {
    Result result(returned, PQclear);
    const ExecStatusType status = PQresultStatus(returned);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) Fail();
    return result;
  }

  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
};

struct Look {
  Clock::time_point began;
  std::vector<std::size_t> seen;  // Of each writer, how many of its commits.
};

struct Plan {
  const char* dsn;
  int writers;
  double commits_per_second;
  Clock::time_point start;
  Clock::time_point end;
};

/// Returns when each commit was acknowledged.
std::vector<Clock::time_point> Write(const Plan& plan, int writer) {
  Session session(plan.dsn);
  session.Prepare(kInsert);
  const std::string name = std::to_string(writer);
  std::vector<Clock::time_point> acknowledged;
  for (std::int64_t n = 0;; ++n) {
    auto due = plan.start;
    if (plan.commits_per_second > 0) {
      const double turn = static_cast<double>(n * plan.writers + writer) / plan.commits_per_second;
      due += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(turn));
    }
    std::this_thread::sleep_until(due);
    if (std::max(due, Clock::now()) >= plan.end) return acknowledged;
    const std::string number = std::to_string(n + 1);
    session.RunPrepared({name.c_str(), number.c_str()});
    acknowledged.push_back(Clock::now());
  }
}

class Listener {
 public:
  explicit Listener(const Plan& plan) : session_(plan.dsn), writers_(std::to_string(plan.writers)) {
    session_.Run("LISTEN apex_outbox");
    session_.Prepare(kLook);
  }

  void Listen(const std::atomic<bool>& ending) {
    while (!ending) {
      const Result armed = session_.Run("SELECT apex.arm()");
      if (*PQgetvalue(armed.get(), 0, 0) != 't') throw std::runtime_error("nobody can wake");
      TakeALook();
      // One that came during the look belongs to this arming.
      int came = session_.Notifications(false);
      while (came == 0 && !ending) came = session_.Notifications(true);
      notifications += came;
      if (came > 0) TakeALook();
    }
    TakeALook();
  }

  std::vector<Look> looks;
  int notifications = 0;

 private:
  void TakeALook() {
    Look look{Clock::now(), {}};
    const Result numbers = session_.RunPrepared({writers_.c_str()});
    for (int row = 0; row < PQntuples(numbers.get()); ++row) {
      look.seen.push_back(std::strtoull(PQgetvalue(numbers.get(), row, 0), nullptr, 10));
    }
    looks.push_back(std::move(look));
  }

  Session session_;
  std::string writers_;
};

double Milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

/// In order.
std::vector<double> Latencies(const std::vector<Look>& looks,
                              const std::vector<std::vector<Clock::time_point>>& acknowledged) {
  std::vector<double> found;
  std::vector<std::size_t> known(acknowledged.size(), 0);
  for (const Look& look : looks) {
    for (std::size_t writer = 0; writer < known.size(); ++writer) {
      for (; known[writer] < look.seen[writer]; ++known[writer]) {
        const auto late = look.began - acknowledged[writer][known[writer]];
        found.push_back(std::max(0.0, Milliseconds(late)));
      }
    }
  }
  std::ranges::sort(found);
  return found;
}

void Measure(Plan plan, std::chrono::duration<double> seconds) {
  Listener listener(plan);
  std::atomic<bool> ending = false;
  std::mutex mutex;
  std::string failure;
  const auto guarded = [&](auto body) {
    return std::thread([&, body] {
      try {
        body();
      } catch (const std::exception& failed) {
        const std::lock_guard lock(mutex);
        failure = failed.what();
      }
    });
  };

  plan.start = Clock::now() + milliseconds(500);  // All have connected by then.
  plan.end = plan.start + std::chrono::duration_cast<Clock::duration>(seconds);
  std::vector<std::vector<Clock::time_point>> acknowledged(static_cast<std::size_t>(plan.writers));
  std::vector<std::thread> writers;
  std::thread listening = guarded([&] { listener.Listen(ending); });
  for (int writer = 0; writer < plan.writers; ++writer) {
    writers.push_back(guarded(
        [&, writer] { acknowledged[static_cast<std::size_t>(writer)] = Write(plan, writer); }));
  }
  for (std::thread& writer : writers) writer.join();
  ending = true;
  listening.join();
  if (!failure.empty()) throw std::runtime_error(failure);

  const std::vector<double> latencies = Latencies(listener.looks, acknowledged);
  if (latencies.empty()) throw std::runtime_error("nothing was committed");
  const auto quantile = [&](double part) {
    return latencies[static_cast<std::size_t>(part * static_cast<double>(latencies.size() - 1))];
  };
  std::printf("{\"commits\": %zu, \"notifications\": %d, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
              latencies.size(), listener.notifications, quantile(0.5), quantile(0.99));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: wake DSN WRITERS COMMITS_PER_SECOND SECONDS\n", stderr);
    return 2;
  }
  try {
    Measure({argv[1], std::atoi(argv[2]), std::atof(argv[3]), {}, {}},
            std::chrono::duration<double>(std::atof(argv[4])));
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "wake: %s\n", failed.what());
    return 1;
  }
  return 0;
}
