/* SPDX-License-Identifier: Apache-2.0
 *
 * Prints what a plan.bin says, one line a fact: the shortest tour of placement_plan.h.
 *
 *     plan_dump PLAN.BIN            the whole plan: ranks, hosts, stages, layers, communicators with their members
 *     plan_dump PLAN.BIN RANK       one rank: where it runs, what it runs, with whom it talks
 */
#include "placement_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static placement_plan plan;

static void need(int error) {
    if (!error) return;
    fprintf(stderr, "plan_dump: %s\n", placement_error(error));
    exit(65);
}

static const char *name(uint32_t offset, uint32_t size) {
    const char *text = placement_name(&plan, offset, size);
    need(text ? PLACEMENT_OK : PLACEMENT_E_DAMAGED);
    return text;
}

static void print_head(void) {
    placement_strategy_record s;
    char digest[65];
    need(placement_get_strategy(&plan, &s));
    placement_digest_text(&plan, digest);
    printf("plan %s version %u.%u flags %u\n", digest, plan.major, plan.minor, plan.flags);
    printf("world %u hosts %u slots %u\n", plan.world_size, plan.num_hosts, plan.gpus_per_node);
    printf("strategy tp %u cp %u ep %u etp %u gtp %u egtp %u dp %u edp %u pp %u vpp %u\n", s.tp, s.cp, s.ep, s.etp, s.gtp,
           s.egtp, s.dp, s.edp, s.pp, s.vpp);
    printf("schedule %s recompute %s sharding %s\n", placement_schedule_name(s.schedule), placement_recompute_name(s.recompute),
           placement_sharding_name(s.sharding));
    printf("batch %" PRIu64 " sequences of %" PRIu64 " tokens, microbatch %u, %u microbatches, step %.17g s\n", s.global_batch,
           s.seq_len, s.micro_batch, s.num_microbatches, s.step_s);
}

static void print_rank(uint32_t rank) {
    placement_rank_record r;
    placement_host_record host;
    placement_domain_record domain;
    placement_nic_record nic;
    uint32_t back;
    need(placement_get_rank(&plan, rank, &r));
    need(placement_get_host(&plan, r.host, &host));
    need(placement_get_domain(&plan, r.domain, &domain));
    need(placement_get_nic(&plan, r.rail, &nic));
    need(placement_find_rank(&plan, r.host, r.slot, &back));
    need(back == rank ? PLACEMENT_OK : PLACEMENT_E_DAMAGED);
    printf("rank %u host %s local_rank %u slot %u gpu %u node %u domain %s nic %s rail %u", rank,
           name(host.name, host.name_size), r.local_rank, r.slot, r.gpu, r.node, name(domain.name, domain.name_size),
           name(nic.name, nic.name_size), r.rail);
    printf(" stage %u tp %u cp %u dp %u ep %u etp %u edp %u gtp %u egtp %u\n", r.stage, r.tp, r.cp, r.dp, r.ep, r.etp, r.edp,
           r.gtp, r.egtp);
}

static void print_hosts(void) {
    placement_host_record h;
    for (uint32_t i = 0, found; i < plan.num_hosts; ++i) {
        need(placement_get_host(&plan, i, &h));
        need(placement_find_host(&plan, name(h.name, h.name_size), &found));
        need(found == i ? PLACEMENT_OK : PLACEMENT_E_DAMAGED);
        printf("host %u %s node %u ranks %u first %u\n", i, name(h.name, h.name_size), h.node, h.num_ranks, h.first_rank);
    }
}

/* The chunks that a pipeline stage runs, and the layers of each. */
static void print_stage(uint32_t stage) {
    placement_stage_record p;
    placement_chunk_record c;
    placement_layer_record layer;
    need(placement_get_stage(&plan, stage, &p));
    printf("stage %u recompute %s chunks %u layers %u\n", stage, placement_recompute_name(p.recompute), p.num_chunks,
           p.num_layers);
    for (uint32_t cursor = 0; !placement_next_chunk(&plan, stage, &cursor, &c);)
        for (uint32_t i = c.first_layer; i < c.first_layer + c.num_layers; ++i) {
            need(placement_get_layer(&plan, i, &layer));
            printf("layer %u stage %u chunk %u virtual %u type %s name %s\n", i, stage, c.chunk, c.virtual_stage,
                   name(layer.type_name, layer.type_name_size), name(layer.name, layer.name_size));
        }
}

static void print_group(const placement_group *group) {
    printf("communicator %s group %u:", group->name, group->group);
    for (uint32_t k = 0, member; k < group->size; ++k) {
        need(placement_get_member(&plan, group, k, &member));
        printf(" %u", member);
    }
    putchar('\n');
}

static void print_groups(void) {
    placement_communicator_record c;
    placement_group group;
    for (uint32_t i = 0; i < plan.num_communicators; ++i) {
        need(placement_get_communicator(&plan, i, &c));
        for (uint32_t g = 0; g < c.num_groups; ++g) {
            need(placement_get_group(&plan, i, g, &group));
            print_group(&group);
        }
    }
}

static void print_groups_of(uint32_t rank) {
    placement_group group;
    for (uint32_t i = 0; i < plan.num_communicators; ++i) {
        const int error = placement_group_of(&plan, i, rank, &group);
        if (error == PLACEMENT_E_NOT_FOUND) continue;
        need(error);
        printf("%u of ", group.index);
        print_group(&group);
    }
}

static void print_spares(void) {
    placement_spare_record s;
    for (uint32_t i = 0; i < plan.num_spares; ++i) {
        need(placement_get_spare(&plan, i, &s));
        printf("spare %u host %s slot %u reserved %u\n", s.gpu, name(s.name, s.name_size), s.slot, s.reserved_node);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: plan_dump PLAN.BIN [RANK]\n"), 64;
    need(placement_open(&plan, argv[1]));
    if (argc > 2) {
        placement_rank_record me;
        const uint32_t rank = (uint32_t)strtoul(argv[2], NULL, 10);
        need(placement_get_rank(&plan, rank, &me));
        print_rank(rank);
        print_stage(me.stage);
        print_groups_of(rank);
        placement_close(&plan);
        return 0;
    }
    need(placement_check(&plan));
    print_head();
    for (uint32_t r = 0; r < plan.world_size; ++r) print_rank(r);
    print_hosts();
    for (uint32_t p = 0; p < plan.num_stages; ++p) print_stage(p);
    print_groups();
    print_spares();
    placement_close(&plan);
    return 0;
}
