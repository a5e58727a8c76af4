/* SPDX-License-Identifier: Apache-2.0
 *
 * placement_plan.h behind functions that ctypes can call, so that tests compare what C and Python say of the same bytes.
 */
#include "placement_plan.h"

int open_and_check(const void *data, size_t size);
int open_and_check(const void *data, size_t size) {
    placement_plan plan;
    const int error = placement_open_memory(&plan, data, size);
    return error ? error : placement_check(&plan);
}

uint32_t crc(const void *data, size_t size);
uint32_t crc(const void *data, size_t size) { return placement_crc32c(data, size); }

/* What accessors say of every rank, 22 numbers each, in the order of the fields of RANKS, then what (host, slot) leads back to,
 * and the communicators `dp` and `ep` as group and index. */
int rank_fields(const void *data, size_t size, uint32_t *out);
int rank_fields(const void *data, size_t size, uint32_t *out) {
    placement_plan plan;
    placement_rank_record r;
    placement_group group;
    uint32_t dp, ep, back;
    int error = placement_open_memory(&plan, data, size);
    if (!error) error = placement_find_communicator(&plan, "dp", &dp);
    if (!error) error = placement_find_communicator(&plan, "ep", &ep);
    for (uint32_t i = 0; !error && i < plan.world_size; ++i) {
        if ((error = placement_get_rank(&plan, i, &r))) break;
        if ((error = placement_find_rank(&plan, r.host, r.slot, &back))) break;
        const uint32_t row[] = {r.rank, r.host, r.node, r.domain, r.slot, r.local_rank, r.rail, r.stage, r.dp,
                                r.ep,   r.edp,  r.tp,   r.cp,     r.etp,  r.gtp,        r.egtp, r.gpu,   back};
        for (size_t k = 0; k < sizeof row / sizeof *row; ++k) *out++ = row[k];
        for (int k = 0; k < 2; ++k) {
            if ((error = placement_group_of(&plan, k ? ep : dp, i, &group))) break;
            *out++ = group.group;
            *out++ = group.index;
        }
    }
    return error;
}
