/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of placement_plan.h on one plan, one `name nanoseconds` a line; called by benchmarks/runtime.py.
 *
 *     runtime PLAN.BIN [COMMAND ARGUMENT...]      with a command: how long starting it takes, interleaved with /bin/true
 */
#define _GNU_SOURCE
#include "placement_plan.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum { TIMES = 201, LOOKUPS = 2000000 };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

static uint32_t next(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }

static volatile uint64_t sink;

static void need(int error) {
    if (!error) return;
    fprintf(stderr, "runtime: %s\n", placement_error(error));
    exit(65);
}

static void time_open(const char *path) {
    double open_ns[TIMES];
    placement_plan plan;
    for (int i = 0; i < TIMES; ++i) {
        const double start = now_ns();
        need(placement_open(&plan, path));
        open_ns[i] = now_ns() - start;
        placement_close(&plan);
    }
    printf("open %.1f\n", median(open_ns, TIMES));
}

/* Sums every word of every rank record: all 64 bytes are read. */
static uint64_t scan(const placement_plan *plan) {
    uint64_t sum = 0;
    for (uint32_t r = 0; r < plan->world_size; ++r) {
        placement_rank_record record;
        need(placement_get_rank(plan, r, &record));
        sum += record.rank + record.host + record.node + record.domain + record.slot + record.local_rank + record.rail;
        sum +=
            record.stage + record.dp + record.ep + record.edp + record.tp + record.cp + record.etp + record.gtp + record.egtp;
        sum += record.gpu + record.reserved[0] + record.reserved[1] + record.reserved[2];
    }
    return sum;
}

static void time_scan(const placement_plan *plan) {
    double scan_ns[TIMES];
    for (int i = 0; i < TIMES; ++i) {
        const double start = now_ns();
        sink += scan(plan);
        scan_ns[i] = now_ns() - start;
    }
    printf("scan_first %.1f\n", scan_ns[0]);
    printf("scan %.1f\n", median(scan_ns, TIMES));
}

static void time_lookups(const placement_plan *plan) {
    uint32_t state = 1, host, rank, dp;
    placement_rank_record record;
    placement_host_record name;
    placement_group group;
    double start = now_ns();
    for (int i = 0; i < LOOKUPS; ++i) {
        need(placement_get_rank(plan, next(&state) % plan->world_size, &record));
        sink += record.host + record.slot + record.stage;
    }
    printf("rank %.1f\n", (now_ns() - start) / LOOKUPS);
    start = now_ns();
    for (int i = 0; i < LOOKUPS; ++i) {
        need(placement_find_rank(plan, next(&state) % plan->num_hosts, (state >> 8) % plan->gpus_per_node, &rank));
        sink += rank;
    }
    printf("slot %.1f\n", (now_ns() - start) / LOOKUPS);
    start = now_ns();
    for (int i = 0; i < LOOKUPS / 10; ++i) {
        need(placement_get_host(plan, next(&state) % plan->num_hosts, &name));
        need(placement_find_host(plan, placement_name(plan, name.name, name.name_size), &host));
        sink += host;
    }
    printf("host %.1f\n", (now_ns() - start) / (LOOKUPS / 10));
    need(placement_find_communicator(plan, "dp", &dp));
    start = now_ns();
    for (int i = 0; i < LOOKUPS; ++i) {
        need(placement_group_of(plan, dp, next(&state) % plan->world_size, &group));
        need(placement_get_member(plan, &group, group.size - 1, &rank));
        sink += rank;
    }
    printf("group %.1f\n", (now_ns() - start) / LOOKUPS);
}

static void time_check(const placement_plan *plan) {
    double check_ns[21];
    for (int i = 0; i < 21; ++i) {
        const double start = now_ns();
        need(placement_check(plan));
        check_ns[i] = now_ns() - start;
    }
    printf("check %.1f\n", median(check_ns, 21));
}

static double spawn_ns(char **command) {
    pid_t pid;
    int status;
    const double start = now_ns();
    if (posix_spawn(&pid, *command, NULL, NULL, command, environ)) exit(71);
    if (waitpid(pid, &status, 0) != pid || status) exit(71);
    return now_ns() - start;
}

/* What COMMAND, which ends in /bin/true, takes longer than /bin/true alone. */
static void time_start(char **command) {
    static char path[] = "/bin/true";
    char *bare[] = {path, NULL};
    double with_ns[TIMES], bare_ns[TIMES];
    for (int i = 0; i < TIMES; ++i) {
        bare_ns[i] = spawn_ns(bare);
        with_ns[i] = spawn_ns(command);
    }
    const double with = median(with_ns, TIMES), without = median(bare_ns, TIMES);
    printf("start %.1f\n", with - without);
    printf("start_least %.1f\n", with_ns[0] - bare_ns[0]);
    printf("start_whole %.1f\n", with);
}

int main(int argc, char **argv) {
    placement_plan plan;
    if (argc < 2) return 64;
    time_open(argv[1]);
    need(placement_open(&plan, argv[1]));
    time_scan(&plan);
    time_lookups(&plan);
    time_check(&plan);
    placement_close(&plan);
    if (argc > 2) time_start(argv + 2);
    return 0;
}
