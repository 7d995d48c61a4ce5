"""The sentences that other rooms write into a plan, as `phrases.py` recognises them.

A test holds the shipped plans to this book.
"""

from __future__ import annotations

from planner.report.language import marked

WHY = (
    marked(
        "{said_gpus} of {gpu} in {format} {said_targets} for {usd} {currency} per hour (its share of {offer}) as "
        "part of {said_fleet}."
    ),
    marked(
        "{said_gpus} of {gpu} in {format} {said_targets} for {usd} {currency} per hour (its share of {offer}) as "
        "part of {said_fleet}; next by list price: {next}, {usd_more} {currency} per hour more."
    ),
    marked(
        "{said_gpus} of {gpu} in {format} {said_targets} for {usd} {currency} per hour (its share of {offer}) as "
        "part of {said_fleet}; next by list price: {next}, at the same list price."
    ),
)
MIXES = (
    marked(
        "{said_mix} together meet all {n} targets for {usd} {currency} per hour (its share of {offer}) as part of "
        "{said_fleet}."
    ),
    marked(
        "{said_mix} together meet its target for {usd} {currency} per hour (its share of {offer}) as part of "
        "{said_fleet}."
    ),
    marked(
        "{said_mix} together meet all {n} targets for {usd} {currency} per hour (its share of {offer}) as part of "
        "{said_fleet}; next by list price: {next}, {usd_more} {currency} per hour more."
    ),
    marked(
        "{said_mix} together meet its target for {usd} {currency} per hour (its share of {offer}) as part of "
        "{said_fleet}; next by list price: {next}, {usd_more} {currency} per hour more."
    ),
)
REJECTED = (
    marked("weights in {format} need {n} GiB on one GPU ({said_layout}), it has {n_room} GiB"),
    marked("{format} needs {n} GiB on one GPU ({said_layout}: {said_parts}), it has {n_room} GiB"),
    marked("engine {engine} does not run on {vendor} accelerators ({gpu})"),
    marked("{gpu} ({arch}) has no {format}"),
    marked("{gpu} ({arch}) cannot train in {format}: no native {needed}"),
    marked("{gpu} ({arch}) cannot train in {format}: no native {needed}; precision: fp16-mixed would run"),
    marked("no offer, purchase price or owned node within the fleet's procurement, providers and regions"),
    marked("best TTFT {n} ms ({said_layout}), asked {n_asked} ms"),
    marked("best TPOT {n} ms ({said_layout}), asked {n_asked} ms"),
    marked("the demand needs {n} replicas ({said_layout}), pinned are {n_pinned}"),
    marked("best {n} tokens/s ({said_layout}), asked {n_asked}"),
    marked("done in {n} h at best ({said_layout}), asked {n_asked} h"),
    marked("offloaded parts need {n} GiB of host memory, the node has {n_room} GiB"),
    marked("offloaded parts need {n} GiB of host memory a node, it has {n_room} GiB"),
    marked("the pinned splits do not divide a node of {n} GPUs"),
    marked("no split of the run divides a node of {n} GPUs and the global batch"),
)
WHY_NOT = (
    marked(
        "its share of the list price is the same; the choice fell by what the whole fleet costs, then by power, "
        "nodes, number format and the room left in the targets"
    ),
    marked("its share of the list price is {usd} {currency} per hour higher; the fleet was not solved again with it"),
    marked(
        "its share of a node costs less, but whole nodes, limits and the other workloads on them make the fleet "
        "no cheaper; the fleet was not solved again with it"
    ),
    marked("the cheapest fleet with it costs {usd} {currency} per hour more"),
    marked("the cheapest fleet with it costs at most {usd} {currency} per hour more"),
    marked("a fleet with it costs the same; the choice fell by power, nodes, number format and room in the targets"),
    marked("with it no fleet keeps all limits and runs all workloads"),
    marked("limits and stock leave no fleet of it alone"),
)
PRICES = (marked("{offer}, {way}, by GPU; {source}"),)
INFEASIBLE = (
    marked("no GPU of the fleet can run it as asked"),
    marked("no GPU of the fleet can run it as asked; nearest: {gpu}: {said_reason}"),
    marked("the nodes that can be had do not carry it together with the others named"),
    marked("only {n} of {node} are there"),
    marked("{said_limit}: at most {said_amount}; {said_clash}"),
    marked("set {limit} to {n}; {gpu} then meets it; cost and the fleet's limits were not looked at"),
    marked(
        "set {limit} to {n}; {gpu}, together with the other targets named, then meets it; cost and the fleet's "
        "limits were not looked at"
    ),
    marked("with {n} of {node} instead of {n_now} a plan exists, for {usd} {currency} per hour"),
    marked(
        "with {n} of {node} instead of {n_now} together with the other changes named here a plan exists, for "
        "{usd} {currency} per hour"
    ),
    marked("raise {limit} to {said_amount}; the fleet then costs {usd} {currency} per hour"),
    marked(
        "raise {limit} to {said_amount} together with the other changes named here; the fleet then costs {usd} "
        "{currency} per hour"
    ),
)
WARNINGS = (
    marked("{n} of the nodes are spot instances, which the provider may take back at any time"),
    marked("the price of {offer} ({way}) is of low confidence"),
    marked("the power of {node} is not published and counts as 0 kW"),
    marked("the power of {node} is not published; that of its GPUs alone is counted"),
    marked("the space of {node} is not published"),
    marked(
        "carbon and cooling of rented machines whose offer names no place are counted as at the site ({region}); "
        "their rent includes electricity"
    ),
    marked("nodes of training runs are counted as kept over the whole horizon, as those of services are"),
    marked("every replica has whole GPUs: sharing one GPU between replicas (MIG) is not planned in this version"),
    marked("{offer}: links, RAM bandwidth, NVMe, network and power are not published; taken from catalog node {node}"),
    marked("{offer}: links, RAM bandwidth, NVMe, network and power are not published; taken from typical host {node}"),
    marked("{offer}: RAM is not published; {n} GiB taken from catalog node {node}"),
    marked("{offer}: RAM is not published; {n} GiB taken from typical host {node}"),
    marked("{node}: local NVMe is not published, so nothing is offloaded to disk"),
    marked("{node}: network is not published, so it is planned alone"),
    marked("{node}: power is not published"),
    marked("{offer}: {n} of one GPU; memory, bandwidth and compute are taken as that share"),
    marked("{gpu}: the catalog holds no node with it; RAM, NVMe, network and host power are those of {node}"),
    marked("{gpu}: the catalog holds no node with {n} of them; RAM, NVMe, network and host power are those of {node}"),
    marked("{gpu}: NVLink or its like between the GPUs of one host, from the accelerator's own figures"),
    marked("{gpu}: PCIe between the GPUs of one host, from the accelerator's own figures"),
    marked("{gpu} has no bf16: trained in fp16-mixed, which needs loss scaling; give `precision` to decide"),
    marked("{format} is weight-only on {arch}: less memory, no faster products"),
    marked(
        "{n} layers do not divide over {n_stages} pipeline stages: the fullest holds {n_most}, and memory and "
        "speed are that stage's"
    ),
    marked("{engine} serves fixed batches: latencies under {n} requests/s at random are not predicted"),
    marked(
        "{n} requests/s are {n_times} times what this configuration serves: the queue only grows, open-loop "
        "latencies are null"
    ),
    marked("context of {n} tokens is beyond the model's maximum of {n_most}"),
    marked("activations of {task} models are an estimate; the interval is wider"),
    marked("site.region {region}: no PUE in the catalog; {n} of {site} stands in"),
)
MORE_WARNINGS = (
    marked(
        "hours: stopping one workload and starting the next on the same GPUs counts as taking no time; leave some "
        "between"
    ),
    marked(
        "some replicas run on parts of GPUs (MIG): their speed is scaled from whole GPUs by an assumption, not "
        "measured, and turning MIG on or changing the parts stops what runs on the GPU"
    ),
    marked(
        "{gpu} cut by MIG: {profile} has the memory that the driver prints; bandwidth is taken as {n_of}/{n_whole} of "
        "the GPU's, compute as that of {n} multiprocessors; no run on a part is recorded, so intervals are those of "
        "whole GPUs"
    ),
    marked("periods: {workload} asks for no rate, concurrency or work, so that its factors change nothing"),
    marked("alternatives, sensitivity and the Pareto front are not solved over periods"),
    marked("latency targets are missed under random arrivals at the rate asked"),
    marked("best p{n_th} TTFT {n} ms ({said_layout}), asked {n_asked} ms"),
    marked("best p{n_th} TPOT {n} ms ({said_layout}), asked {n_asked} ms"),
)
TRAINING = (
    marked("fp8-mixed: memory is that of bf16-mixed; FP8 copies of weights and FP8 activations are not modelled"),
    marked("optimizer_step in-backward steps at every micro-batch: gradients cannot accumulate; give micro = global"),
    marked("training memory counts the tokens of `sequence` alone, not what the vision or audio tower keeps"),
    marked(
        "checkpointing: selective saves no memory with {attention} attention, which keeps no scores, and costs time; "
        "`full` saves memory, `none` is faster"
    ),
)
SWINGS = (
    marked("with {share} less traffic of all services the best fleet costs {usd} {currency} per hour"),
    marked("with {share} more traffic of all services the best fleet costs {usd} {currency} per hour"),
    marked("with {share} less traffic of all services no fleet keeps the limits"),
    marked("with {share} more traffic of all services no fleet keeps the limits"),
)
PERIODS = (
    marked("nodes of training runs are counted as kept over every period it runs in, as those of services are"),
    marked(
        "periods: setting a workload up anew between two periods counts as free, and bought nodes are kept to the end"
    ),
)
SENSITIVITY = (
    marked("one more node {node} ({way}) would save {usd} {currency} a month"),
    marked("one more node {node} ({way}) would save nothing"),
    marked("if {offer} costs {share} more ({usd} {currency} a node and hour), the choice flips: {said_moves}"),
    marked("if {offer} costs any more, the choice flips: {said_moves}"),
)
PROOF = (
    marked(
        "whole micro-USD an hour (of purchases, per month of the horizon), W, g of CO2 an hour, hundredths of a rack "
        "unit, parts in 10**8 of a workload's largest demand: what is spent or used rounds up, limits and rates round "
        "down"
    ),
    marked(
        "whole micro-USD an hour, whole USD of purchases, W, g of CO2 an hour, hundredths of a rack unit: what "
        "is spent or used rounds up, limits round down, each by less than one unit a node"
    ),
)
FRAGMENTS = (
    marked("{said_gpus} of {gpu} in {format}"),
    marked("{said_fleet} over all periods"),
    marked("one GPU"),
    marked("{n} GPUs"),
    marked("{n} x one GPU"),
    marked("{n} x {n_each} GPUs"),
    marked("fits"),
    marked("meets its target"),
    marked("meets all {n} targets"),
    marked("the cheapest fleet that exists for all workloads together"),
    marked("the least power-hungry fleet that exists for all workloads together"),
    marked("the smallest fleet that exists for all workloads together"),
    marked("the least emitting fleet that exists for all workloads together"),
    marked("the cheapest fleet found within the time limit"),
    marked("the least power-hungry fleet found within the time limit"),
    marked("the smallest fleet found within the time limit"),
    marked("the least emitting fleet found within the time limit"),
    marked("{part} {n} GiB"),
    marked("tensor parallel {n}"),
    marked("pipeline {n}"),
    marked("data parallel {n}"),
    marked("context {n}"),
    marked("{n} nodes"),
    marked("what the fleet may cost"),
    marked("power of all nodes"),
    marked("nodes in the fleet"),
    marked("GPUs in the fleet"),
    marked("money for purchases"),
    marked("space for nodes of our own"),
    marked("no fleet that meets the targets keeps it"),
    marked("it clashes with the others named here"),
    marked("{n} USD per hour"),
    marked("{n} USD"),
    marked("{n} kW"),
    marked("{n} rack units"),
    marked("{workload} to {gpu}"),
    marked("fewer of its nodes are taken"),
)
"""What stands inside sentences, and is no sentence by itself."""
SENTENCES = (
    *WHY,
    *MIXES,
    *REJECTED,
    *WHY_NOT,
    *PRICES,
    *INFEASIBLE,
    *WARNINGS,
    *MORE_WARNINGS,
    *TRAINING,
    *SWINGS,
    *PERIODS,
    *SENSITIVITY,
    *PROOF,
)
