/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of placement_plan.h on one plan: a line `name least median`, in nanoseconds, for each; called by benchmarks/runtime.py.
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

enum { TIMES = 201, ROUNDS = 41, LOOKUPS = 50000 };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *name, double *values, size_t count) {
    qsort(values, count, sizeof *values, ascending);
    printf("%s %.1f %.1f\n", name, values[0], values[count / 2]);
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
    print("open", open_ns, TIMES);
}

/* Sums every field of every rank record. */
static uint64_t scan(const placement_plan *plan) {
    uint64_t sum = 0;
    for (uint32_t r = 0; r < plan->world_size; ++r) {
        placement_rank_record record;
        need(placement_get_rank(plan, r, &record));
        sum += record.rank + record.host + record.node + record.domain + record.slot + record.local_rank + record.rail;
        sum +=
            record.stage + record.dp + record.ep + record.edp + record.tp + record.cp + record.etp + record.gtp + record.egtp;
        sum += record.gpu;
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
    print("scan_first", scan_ns, 1);
    print("scan", scan_ns + 1, TIMES - 1);
}

static void look_up_rank(const placement_plan *plan, uint32_t random) {
    placement_rank_record record;
    need(placement_get_rank(plan, random % plan->world_size, &record));
    sink += record.host + record.slot + record.stage;
}

static void look_up_slot(const placement_plan *plan, uint32_t random) {
    uint32_t rank;
    need(placement_find_rank(plan, random % plan->num_hosts, (random >> 8) % plan->gpus_per_node, &rank));
    sink += rank;
}

static void look_up_host(const placement_plan *plan, uint32_t random) {
    placement_host_record record;
    uint32_t host;
    need(placement_get_host(plan, random % plan->num_hosts, &record));
    need(placement_find_host(plan, placement_name(plan, record.name, record.name_size), &host));
    sink += host;
}

static void look_up_group(const placement_plan *plan, uint32_t random) {
    placement_group group;
    uint32_t dp, rank;
    need(placement_find_communicator(plan, "dp", &dp));
    need(placement_group_of(plan, dp, random % plan->world_size, &group));
    need(placement_get_member(plan, &group, group.size - 1, &rank));
    sink += rank;
}

static inline void time_lookups(const placement_plan *plan, const char *name,
                                void (*look_up)(const placement_plan *, uint32_t)) {
    double each_ns[ROUNDS];
    uint32_t state = 1;
    for (int round = 0; round < ROUNDS; ++round) {
        const double start = now_ns();
        for (int i = 0; i < LOOKUPS; ++i) look_up(plan, next(&state));
        each_ns[round] = (now_ns() - start) / LOOKUPS;
    }
    print(name, each_ns, ROUNDS);
}

static void time_check(const placement_plan *plan) {
    double check_ns[ROUNDS];
    for (int i = 0; i < ROUNDS; ++i) {
        const double start = now_ns();
        need(placement_check(plan));
        check_ns[i] = now_ns() - start;
    }
    print("check", check_ns, ROUNDS);
}

static double spawn_ns(char **command) {
    pid_t pid;
    int status;
    const double start = now_ns();
    if (posix_spawn(&pid, *command, NULL, NULL, command, environ)) exit(71);
    if (waitpid(pid, &status, 0) != pid || status) exit(71);
    return now_ns() - start;
}

/* COMMAND, which ends in /bin/true, and /bin/true alone, by turns. */
static void time_start(char **command) {
    static char path[] = "/bin/true";
    char *bare[] = {path, NULL};
    double with_ns[TIMES], bare_ns[TIMES];
    for (int i = 0; i < TIMES; ++i) {
        bare_ns[i] = spawn_ns(bare);
        with_ns[i] = spawn_ns(command);
    }
    print("with", with_ns, TIMES);
    print("bare", bare_ns, TIMES);
}

int main(int argc, char **argv) {
    placement_plan plan;
    if (argc < 2) return 64;
    time_open(argv[1]);
    need(placement_open(&plan, argv[1]));
    time_scan(&plan);
    time_lookups(&plan, "rank", look_up_rank);
    time_lookups(&plan, "slot", look_up_slot);
    time_lookups(&plan, "host", look_up_host);
    time_lookups(&plan, "group", look_up_group);
    time_check(&plan);
    placement_close(&plan);
    if (argc > 2) time_start(argv + 2);
    return 0;
}
