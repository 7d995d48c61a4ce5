"""The commented spec that `plan init` writes."""

from __future__ import annotations

_STARTER = """\
# A spec for `plan build`. Keys that are commented out show what else there is, with an example or their default.
# `plan check FILE` checks it; `plan check --show-defaults FILE` writes out every default.
version: 1
name: @NAME@

objective: cost                   # cost | power | gpus | carbon, or a list: each settles the ties of the one before
# horizon: {months: 36}           # the time that costs are counted over

site:
  region: us                      # electricity, PUE and carbon from the catalog, or your own figures:
  # electricity_usd_per_kwh: 0.12
  # pue: 1.3
  # carbon_g_per_kwh: 370
  # colocation_usd_per_kw_month: 190

fleet:
  # gpus: ["h100-*", l4]          # only these; left out = the whole catalog
  # exclude_gpus: ["*-pcie-*"]
  procurement: [on_demand, reserved_1y, reserved_3y, buy]   # also: spot
  # providers: [aws]              # left out = all
  # regions: [us-east-1]
  # owned: [{node: dgx-h100, count: 1}]   # already there: costs energy only
  # limits: {usd_per_hour: 90, capex_usd: 2.0e6, power_kw: 60, rack_units: 42, gpus: 64, nodes: 12}
  #   and capex_usd_per_period: 1.0e6, where there are `periods`
  # lead_months: 3                # from the order of a bought node to its delivery, where there are `periods`
  # spare_nodes: 1                # stand-by nodes of each kind in use
  share_gpus: true                # workloads may share a node, and a GPU where that is safe
  memory_headroom: 0.05           # share of device memory that stays free
  # planning_quantile: 0.8        # plan on a cautious prediction instead of the median

workloads:
  - name: chat
    model: meta-llama/Llama-3.1-8B          # a catalog id, the path of a config.json, or its keys
    mode: infer
    engine: vllm                            # or name@version; `plan catalog list` has them
    sequence: {input: 1024, output: 256}    # tokens of prompt and answer
    # traffic: [{input: 200, output: 100, share: 0.7}, {input: 8000, output: 500, share: 0.3}]   # instead of sequence
    batch: auto                             # sequences in flight per replica
    precision: auto                         # or one, or a list such as [bf16, fp8, int4-awq]
    # min_quality: 0.97                     # what `auto` must keep of the 16-bit model's quality
    # kv_precision: auto                    # auto | bf16 | fp8 | int8
    # attention: flash                      # flash | sdpa | eager
    # offload: none                         # none | auto | {cpu: true, disk: false}
    # images: {count: 1, width: 1024, height: 1024}   # vision-language models
    # image: {width: 1024, height: 1024, steps: 30}   # diffusion models
    # audio: {seconds: 30}                            # speech models
    # hours: 08:00-20:00                    # when it runs; others may have its GPUs at other hours
    # engine_options: {gpu_memory_utilization: 0.9}
    targets: {requests_per_second: 4, ttft_ms: 800, tpot_ms: 40}   # also output_tokens_per_second, concurrency
    # mixed: true                           # several GPU types may serve it together where that is cheaper
    # least_nodes: 2                        # outlives the loss of a node
    # apart_from: [tune]                    # shares no node with it
    # pin: {gpu: h100-sxm-80gb, tensor_parallel: 1}   # decisions already taken

  - name: tune
    model: meta-llama/Llama-3.1-8B
    mode: train
    method: qlora                           # full | lora | qlora
    lora: {rank: 16, target_modules: all-linear, dropout: 0.0, adapter_dtype: fp32}
    optimizer: adamw                        # adamw-8bit, adafactor, lion, muon ...
    precision: bf16-mixed                   # fp32 | fp16-mixed | bf16-mixed | bf16 | fp8-mixed
    sequence: 4096
    batch: {global: 64, micro: auto}
    # checkpointing: auto                   # none | selective | full | auto
    # sharding: auto                        # none | zero1 | zero2 | zero3 | auto
    targets: {tokens: 2.0e8, deadline_hours: 48}      # also steps, tokens_per_second

# report: {title: Our GPUs, organisation: Example Ltd, author: Jo Doe, language: en, accent: "#0B5FFF"}
#   # language: en, fa or de; digits: native writes Persian ones; currency: EUR takes a
#   # rate: {per_usd: ..., as_of: YYYY-MM-DD, source: ...}
# periods:                          # factors on the targets over time, one after another; purchases carry over
#   - {months: 12, demand: {chat: 1.0}}
#   - {months: 24, demand: {chat: 2.5}}
"""


def starter_spec(name: str = "my-fleet", *, schema: str | None = None) -> str:
    """The text of a spec to start from.

    `schema` is the path, as seen from the spec, of the JSON Schema for editors; None leaves that line out.
    """
    hint = f"# yaml-language-server: $schema={schema}\n" if schema else ""
    return hint + _STARTER.replace("@NAME@", name)
