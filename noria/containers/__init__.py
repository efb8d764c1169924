"""Files of tensors: safetensors and GGUF, checked before anything is allocated.

In: bytes on disk. Out: names, types, shapes, byte ranges and values, or a typed refusal. No file,
whatever it says about itself, costs more than a second or its own size plus 32 MB to refuse.
Nothing here knows what a model is, or imports torch.
"""
