#include "cli/app.h"

int main(int argc, char** argv) { return apex::cli::Main(argc, argv); }
