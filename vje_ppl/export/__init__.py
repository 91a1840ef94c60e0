"""A trained run in forms that other programs read: safetensors, ONNX, a model card."""
