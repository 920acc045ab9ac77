// word_filter.h - Which of 64 words lie in a range of addresses, on aarch64: its vectors have two words, which gains nothing over one after
// the other.
//
// Used by: marker.
#ifndef TRI_GC_WORD_FILTER_H
#define TRI_GC_WORD_FILTER_H

#include <cstddef>
#include <cstdint>

namespace tri::gc {

/// Bit i is set if words[i] - begin < bytes. The words may be anybody's.
using WordFilter = uint64_t (*)(const uintptr_t* words, uintptr_t begin, size_t bytes);

/// The best one; null if there is none.
inline WordFilter choose_word_filter() { return nullptr; }

}  // namespace tri::gc

#endif
