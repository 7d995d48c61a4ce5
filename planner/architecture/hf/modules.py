"""Names of modules that differ from ours, by family: what LoRA targets and fused matrices go by."""

from __future__ import annotations

from collections.abc import Mapping


def _fused(qkv: str, o: str, up: str, down: str) -> Mapping[str, str]:
    return {"q_proj": qkv, "k_proj": qkv, "v_proj": qkv, "o_proj": o, "up_proj": up, "down_proj": down}


GPT2 = _fused("c_attn", "c_proj", "c_fc", "c_proj")
GPT_NEO = {"o_proj": "out_proj", "up_proj": "c_fc", "down_proj": "c_proj"}
GPTJ = {"o_proj": "out_proj", "up_proj": "fc_in", "down_proj": "fc_out"}
NEOX = _fused("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
OPT = {"o_proj": "out_proj", "up_proj": "fc1", "down_proj": "fc2"}
MPT = _fused("Wqkv", "out_proj", "up_proj", "down_proj")
DBRX = {"q_proj": "Wqkv", "k_proj": "Wqkv", "v_proj": "Wqkv", "o_proj": "out_proj"}
PHI = {"o_proj": "dense", "up_proj": "fc1", "down_proj": "fc2"}
FUSED_GATE = {"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj"}
PHI3 = {"q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj", **FUSED_GATE}
PHI3_SMALL = {
    "q_proj": "query_key_value",
    "k_proj": "query_key_value",
    "v_proj": "query_key_value",
    "o_proj": "dense",
    "gate_proj": "up_proj",
}
STARCODER2 = {"up_proj": "c_fc", "down_proj": "c_proj"}
BAICHUAN = {"q_proj": "W_pack", "k_proj": "W_pack", "v_proj": "W_pack"}
CHATGLM = {**_fused("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"), "gate_proj": "dense_h_to_4h"}
INTERNLM2 = {**_fused("wqkv", "wo", "w3", "w2"), "gate_proj": "w1"}
MLA = {"kv_a_proj": "kv_a_proj_with_mqa"}
BERT = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "dense",
    "up_proj": "dense",
    "down_proj": "dense",
}
DISTILBERT = {
    "q_proj": "q_lin",
    "k_proj": "k_lin",
    "v_proj": "v_lin",
    "o_proj": "out_lin",
    "up_proj": "lin1",
    "down_proj": "lin2",
}
DEBERTA = {**BERT, "q_proj": "query_proj", "k_proj": "key_proj", "v_proj": "value_proj"}
ALBERT = {**BERT, "up_proj": "ffn", "down_proj": "ffn_output"}
MPNET = {**BERT, "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o"}
MODERNBERT = {**_fused("Wqkv", "Wo", "Wi", "Wo"), "gate_proj": "Wi"}
GTE = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "up_gate_proj",
    "up_proj": "up_gate_proj",
}
T5_ATTENTION = {f"{cross}{x}_proj": x for cross in ("", "cross_") for x in "qkvo"}
T5 = {**T5_ATTENTION, "up_proj": "wi", "down_proj": "wo"}
T5_GATED = {**T5_ATTENTION, "gate_proj": "wi_0", "up_proj": "wi_1", "down_proj": "wo"}
BART = {**OPT, "cross_q_proj": "q_proj", "cross_k_proj": "k_proj", "cross_v_proj": "v_proj", "cross_o_proj": "out_proj"}
