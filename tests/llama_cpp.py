"""llama.cpp, as the PyPI package xllamacpp carries it, through its C functions.

The package's own Python names offer no control vectors and no logits, but its library exports all of llama.cpp. Structures and
names are those of one version.
"""

import ctypes
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import torch
from torch import Tensor

PACKAGE = "xllamacpp==2026.10.11549"
INT, SIZE, POINTER = ctypes.c_int32, ctypes.c_size_t, ctypes.c_void_p
LOADER = "_Z26common_control_vector_loadRKSt6vectorI31common_control_vector_load_infoSaIS0_EE"


class _Settings(ctypes.Structure):
    """A structure of settings, at least as large as any of llama.cpp's: only llama.cpp looks inside."""

    _fields_ = (("bytes", ctypes.c_char * 1024),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", INT),
        *((name, POINTER) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")),
    )


class _Vector(ctypes.Structure):
    """std::vector."""

    _fields_ = (("begin", POINTER), ("end", POINTER), ("reserved", POINTER))


class _LoadInfo(ctypes.Structure):
    """common_control_vector_load_info; a std::string of manylinux2014 is a pointer to its characters."""

    _fields_ = (("strength", ctypes.c_float), ("path", ctypes.c_char_p))


class _Loaded(ctypes.Structure):
    """common_control_vector_data."""

    _fields_ = (("n_embd", INT), ("data", _Vector))


class LlamaCpp:
    """A model in llama.cpp, in one thread."""

    def __init__(self, library: str | Path, model: str | Path) -> None:
        self.library = ctypes.CDLL(str(library))
        quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, POINTER)
        self._log = quiet(lambda *_: None)
        self._call("llama_log_set", None, quiet, POINTER)(self._log, None)
        self._call("llama_backend_init", None)()
        settings = self._call("llama_model_default_params", _Settings)()
        load = self._call("llama_model_load_from_file", POINTER, ctypes.c_char_p, _Settings)
        self.model = load(str(model).encode(), settings)
        assert self.model, f"llama.cpp does not load {model}"
        settings = self._call("llama_context_default_params", _Settings)()
        self.context = self._call("llama_init_from_model", POINTER, POINTER, _Settings)(self.model, settings)
        self._call("llama_set_n_threads", None, POINTER, INT, INT)(self.context, 1, 1)
        vocabulary = self._call("llama_model_get_vocab", POINTER, POINTER)(self.model)
        self.n_vocabulary = self._call("llama_vocab_n_tokens", INT, POINTER)(vocabulary)
        self.n_layers = self._call("llama_model_n_layer", INT, POINTER)(self.model)

    def _call(self, name, result, *arguments):
        function = getattr(self.library, name)
        function.restype, function.argtypes = result, arguments
        return function

    def control_vector(self, path: str | Path, strength: float) -> np.ndarray:
        """Load a file as `--control-vector-scaled path:strength` does: layers from 1, one after the other; empty if refused."""
        info = _LoadInfo(strength, str(path).encode())
        end = ctypes.addressof(info) + ctypes.sizeof(info)
        given, loaded = _Vector(ctypes.addressof(info), end, end), _Loaded()
        self._call(LOADER, None, POINTER, POINTER)(ctypes.byref(loaded), ctypes.byref(given))
        if loaded.n_embd < 1:
            return np.zeros(0, dtype=np.float32)
        length = (loaded.data.end - loaded.data.begin) // 4
        return np.ctypeslib.as_array((ctypes.c_float * length).from_address(loaded.data.begin)).copy()

    def logits(self, ids: Sequence[int], control: np.ndarray | None = None, d_model: int = 0) -> Tensor:
        """Logits [token of the vocabulary] after the last of some tokens, with a control vector from `control_vector`."""
        apply = self._call("llama_set_adapter_cvec", INT, POINTER, POINTER, SIZE, INT, INT, INT)
        if control is None:
            apply(self.context, None, 0, 0, 0, 0)
        else:
            assert apply(self.context, control.ctypes.data, control.size, d_model, 1, self.n_layers) == 0
        memory = self._call("llama_get_memory", POINTER, POINTER)(self.context)
        self._call("llama_memory_clear", None, POINTER, ctypes.c_bool)(memory, True)
        tokens = (INT * len(ids))(*ids)
        batch = self._call("llama_batch_get_one", _Batch, POINTER, INT)(tokens, len(ids))
        assert self._call("llama_decode", INT, POINTER, _Batch)(self.context, batch) == 0
        found = self._call("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), POINTER, INT)(self.context, -1)
        return torch.tensor(np.ctypeslib.as_array(found, (self.n_vocabulary,)).copy())


def llama_library() -> str:
    """Path of the library with llama.cpp in it; skips the test where this version is not installed."""
    import pytest  # which new users do not have

    package = pytest.importorskip("xllamacpp.xllamacpp", reason=f"llama.cpp: pip install --no-deps {PACKAGE}")
    if (found := version("xllamacpp")) != PACKAGE.partition("==")[2]:
        pytest.skip(f"this is xllamacpp {found}: pip install --no-deps {PACKAGE}")
    return str(package.__file__)


def rotary(weight, n_heads):
    """Rows of a query or key matrix in llama.cpp's order: pairs of rotary axes side by side."""
    return weight.reshape(n_heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def written_gguf(model, path):
    """Write the weights of a small Llama as llama.cpp reads them, in float32 and without a vocabulary."""
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)
    for name, weight in model.state_dict().items():
        weight = weight.float().numpy()
        if ".q_proj." in name:
            weight = rotary(weight, config.num_attention_heads)
        if ".k_proj." in name:
            weight = rotary(weight, config.num_key_value_heads)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
