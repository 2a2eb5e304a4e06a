#include "stores/redis/word_finder.h"

namespace apex::redis {

WordFinder::WordFinder(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    for (const char c : word) {
      uint16_t& known = class_of_[static_cast<unsigned char>(c)];
      if (known == 0) known = static_cast<uint16_t>(classes_++);
    }
  }
  NewState();
  for (size_t i = 0; i < words.size(); ++i) AddWord(words[i], i);
  Complete();
}

WordFinder::State WordFinder::NewState() {
  next_.resize(next_.size() + classes_, kStart);
  suffix_.push_back(kStart);
  ends_.push_back(kStart);
  word_.push_back(0);
  return static_cast<State>(word_.size() - 1);
}

void WordFinder::AddWord(std::string_view word, size_t index) {
  State state = kStart;
  for (const char c : word) {
    if (Next(state, c) == kStart) {
      const State made = NewState();
      Next(state, c) = made;
    }
    state = Next(state, c);
  }
  ends_[state] = state;
  word_[state] = index;
}

/// Breadth first: what a state falls back to is shorter, and complete already.
void WordFinder::Complete() {
  std::vector<State> queue{kStart};
  for (size_t at = 0; at < queue.size(); ++at) {
    const State state = queue[at];
    const State suffix = suffix_[state];
    if (ends_[state] == kStart) ends_[state] = ends_[suffix];
    for (size_t c = 0; c < classes_; ++c) {
      State& next = next_[state * classes_ + c];
      const State fallback = state == kStart ? kStart : next_[suffix * classes_ + c];
      if (next == kStart) {
        next = fallback;
      } else {
        suffix_[next] = fallback;
        queue.push_back(next);
      }
    }
  }
}

}  // namespace apex::redis
