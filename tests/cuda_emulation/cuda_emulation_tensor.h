/* The functions of kernels/cuda/tensor_core.cuh on the host (tests only): the same numbers reach the same lanes.
 *
 * A warp's lanes show one another an address each, between two barriers. Copies that a GPU makes in the background are made when they are
 * waited for, so that a wait that is missing shows up as junk; the groups of one thread are counted as on the device.
 */
#ifndef RN_CUDA_EMULATION_TENSOR_H
#define RN_CUDA_EMULATION_TENSOR_H

#include <cstdint>
#include <cstring>
#include <deque>

#include <cuda_emulation.h>

namespace rn_emulation
{

/* What the lanes of the calling thread's warp show one another. */
inline const void **warp_board()
{
    static const void *boards[32][32];
    const unsigned rank = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    return boards[rank / 32];
}

inline unsigned lane()
{
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
}

inline float to_number(const __half *element)
{
    return __half2float(*element);
}
inline float to_number(const __nv_bfloat16 *element)
{
    return __bfloat162float(*element);
}

struct PendingCopy {
    void *to;
    const void *from;
    bool exists;
    bool ends_group; /* and copies nothing */
};

/* Of each thread of the block. */
inline std::deque<PendingCopy> &pending_copies()
{
    static std::deque<PendingCopy> copies[1024];
    return copies[threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)];
}

} // namespace rn_emulation

inline void load_blocks(uint32_t (&blocks)[4], const void *row)
{
    const void **board = rn_emulation::warp_board();
    const unsigned lane = rn_emulation::lane();
    board[lane] = rn_emulation::aligned(static_cast<const uint4 *>(row));
    __syncwarp();
    for (unsigned i = 0; i < 4; i++) std::memcpy(&blocks[i], static_cast<const char *>(board[8 * i + lane / 4]) + lane % 4 * 4, 4);
    __syncwarp();
}

template <class T> void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    struct Fragments {
        T a[4][2], b[2][2];
    } mine;
    std::memcpy(static_cast<void *>(mine.a), a, sizeof mine.a);
    std::memcpy(static_cast<void *>(mine.b[0]), &b0, sizeof b0);
    std::memcpy(static_cast<void *>(mine.b[1]), &b1, sizeof b1);
    const void **board = rn_emulation::warp_board();
    const unsigned lane = rn_emulation::lane();
    board[lane] = &mine;
    __syncwarp();
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            const Fragments *of_a = static_cast<const Fragments *>(board[row % 8 * 4 + k % 8 / 2]);
            const Fragments *of_b = static_cast<const Fragments *>(board[column * 4 + k % 8 / 2]);
            sum[i] += rn_emulation::to_number(&of_a->a[row / 8 + 2 * (k / 8)][k % 2]) * rn_emulation::to_number(&of_b->b[k / 8][k % 2]);
        }
    }
    __syncwarp();
}

inline void copy_ahead(void *to, const void *from, bool exists)
{
    rn_emulation::aligned(static_cast<uint4 *>(to));
    rn_emulation::aligned(static_cast<const uint4 *>(from));
    rn_emulation::pending_copies().push_back({to, from, exists, false});
}

inline void end_copies()
{
    rn_emulation::pending_copies().push_back({nullptr, nullptr, false, true});
}

template <int N> void wait_for_copies()
{
    std::deque<rn_emulation::PendingCopy> &copies = rn_emulation::pending_copies();
    int groups = 0;
    for (const rn_emulation::PendingCopy &copy : copies) groups += copy.ends_group;
    while (groups > N) {
        const rn_emulation::PendingCopy copy = copies.front();
        copies.pop_front();
        groups -= copy.ends_group;
        if (copy.ends_group) continue;
        if (copy.exists)
            std::memcpy(copy.to, copy.from, 16);
        else
            std::memset(copy.to, 0, 16);
    }
}

#endif
