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
