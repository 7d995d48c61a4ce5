"""Memory without a GPU: the library's own model code on tensors without storage, every storage followed.

`python -m validation.simulate` says what it does; `allocator.py` is PyTorch's caching allocator and needs no torch.
"""
