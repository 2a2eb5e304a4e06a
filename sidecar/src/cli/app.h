// The command line of `apex`: reads the configuration, then runs one command.
#pragma once

namespace apex::cli {

/// Exit codes of every command.
enum ExitCode {
  kSuccess = 0,
  kFailure = 1,  ///< The command ran and what it was asked for did not come about.
  kUsage = 2,    ///< The command line or the configuration is wrong; the message names the key and
                 ///< what was expected.
};

int Main(int argc, char** argv);

}  // namespace apex::cli
