// The comparison of a Hamming search as a plain loop in C, for bench_native.py.
//
// count_near counts, for each query, the rows at a distance below its bound: no rows are kept, so a
// search has more to do. Four queries are compared with a block of rows in a level-1 cache, eight
// words of 64 bits at a time. Compile with -O3 -march=native; without AVX-512 the compiler makes of
// the plain loop what it can.

#include <stdint.h>
#include <string.h>

#define BLOCK_BYTES 16384
#define TOGETHER 4

#if defined(__AVX512BW__) && defined(__AVX512DQ__)
#include <immintrin.h>

static inline __m512i counted(__m512i words) {
#ifdef __AVX512VPOPCNTDQ__
    return _mm512_popcnt_epi64(words);
#else
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(words, nibble));
    __m512i high = _mm512_shuffle_epi8(
        table, _mm512_and_si512(_mm512_srli_epi16(words, 4), nibble));
    return _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512());
#endif
}

// words: [n_words][n_rows], n_rows a multiple of 8.
static inline void compare(const uint64_t *words, int64_t n_rows, int64_t n_words,
                           const uint64_t *queries, const int64_t *bounds, int64_t *n_near) {
    __m512i limits[TOGETHER];
    for (int q = 0; q < TOGETHER; q++) limits[q] = _mm512_set1_epi64(bounds[q]);
    for (int64_t row = 0; row < n_rows; row += 8) {
        __m512i totals[TOGETHER];
        __m512i rows = _mm512_loadu_si512(words + row);
        for (int q = 0; q < TOGETHER; q++)
            totals[q] = counted(_mm512_xor_si512(rows, _mm512_set1_epi64(queries[q * n_words])));
        for (int64_t word = 1; word < n_words; word++) {
            rows = _mm512_loadu_si512(words + word * n_rows + row);
            for (int q = 0; q < TOGETHER; q++)
                totals[q] = _mm512_add_epi64(
                    totals[q], counted(_mm512_xor_si512(
                                   rows, _mm512_set1_epi64(queries[q * n_words + word]))));
        }
        __mmask8 near[TOGETHER], any = 0;
        for (int q = 0; q < TOGETHER; q++) {
            near[q] = _mm512_cmplt_epi64_mask(totals[q], limits[q]);
            any |= near[q];
        }
        if (__builtin_expect(any, 0))
            for (int q = 0; q < TOGETHER; q++) n_near[q] += __builtin_popcount(near[q]);
    }
}
#else
static inline void compare(const uint64_t *words, int64_t n_rows, int64_t n_words,
                           const uint64_t *queries, const int64_t *bounds, int64_t *n_near) {
    for (int q = 0; q < TOGETHER; q++) {
        int64_t found = 0;
        for (int64_t row = 0; row < n_rows; row++) {
            int64_t total = 0;
            for (int64_t word = 0; word < n_words; word++)
                total += __builtin_popcountll(words[word * n_rows + row] ^
                                              queries[q * n_words + word]);
            found += total < bounds[q];
        }
        n_near[q] += found;
    }
}
#endif

static inline void scan(const uint64_t *codes, int64_t n_rows, int64_t n_words,
                        const uint64_t *queries, int64_t n_queries, const int64_t *bounds,
                        int64_t *n_near) {
    uint64_t block[BLOCK_BYTES / 8];
    int64_t block_rows = BLOCK_BYTES / 8 / n_words / 8 * 8;
    for (int64_t first = 0; first < n_rows; first += block_rows) {
        int64_t own = n_rows - first < block_rows ? n_rows - first : block_rows;
        const uint64_t *rows = codes + first * n_words;
        if (n_words > 1) {
            for (int64_t row = 0; row < own; row++)
                for (int64_t word = 0; word < n_words; word++)
                    block[word * own + row] = rows[row * n_words + word];
            rows = block;
        }
        for (int64_t q = 0; q < n_queries; q += TOGETHER)
            compare(rows, own, n_words, queries + q * n_words, bounds + q, n_near + q);
    }
}

// codes: [n_rows][n_words], n_rows a multiple of 8; queries: [n_queries][n_words], n_queries a
// multiple of 4; n_near: [n_queries], added to.
void count_near(const uint64_t *codes, int64_t n_rows, int64_t n_words, const uint64_t *queries,
                int64_t n_queries, const int64_t *bounds, int64_t *n_near) {
    switch (n_words) {  // lengths that the compiler unrolls
        case 1: scan(codes, n_rows, 1, queries, n_queries, bounds, n_near); break;
        case 2: scan(codes, n_rows, 2, queries, n_queries, bounds, n_near); break;
        case 4: scan(codes, n_rows, 4, queries, n_queries, bounds, n_near); break;
        default: scan(codes, n_rows, n_words, queries, n_queries, bounds, n_near);
    }
}
