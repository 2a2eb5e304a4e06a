// Finds which of many words occur in a text by walking over it once, however many they are: the
// automaton of Aho and Corasick.
//
// Pure; immutable after construction and safe to share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace apex::redis {

class WordFinder {
 public:
  /// No word is empty, and none is there twice.
  explicit WordFinder(const std::vector<std::string>& words = {});

  /// Whether `wanted(index)` is true for one of the words that occur in the text. Asks for each
  /// occurrence until then.
  template <typename Wanted>
  bool AnyIn(std::string_view text, Wanted wanted) const {
    State state = kStart;
    for (const char c : text) {
      state = Next(state, c);
      for (State end = ends_[state]; end != kStart; end = ends_[suffix_[end]]) {
        if (wanted(word_[end])) return true;
      }
    }
    return false;
  }

 private:
  using State = uint32_t;
  static constexpr State kStart = 0;

  State& Next(State state, char c) { return next_[state * classes_ + ClassOf(c)]; }
  State Next(State state, char c) const { return next_[state * classes_ + ClassOf(c)]; }
  size_t ClassOf(char c) const { return class_of_[static_cast<unsigned char>(c)]; }
  State NewState();
  void AddWord(std::string_view word, size_t index);
  void Complete();

  /// Characters that no word has are all alike.
  std::array<uint16_t, 256> class_of_{};
  size_t classes_ = 1;
  std::vector<State> next_;  ///< For each state and class.
  /// For each state: the longest proper suffix of what it stands for that is a state.
  std::vector<State> suffix_;
  /// The longest suffix, it may be all of it, that is a word; kStart: none is.
  std::vector<State> ends_;
  std::vector<size_t> word_;  ///< Which one, where it is one.
};

}  // namespace apex::redis
