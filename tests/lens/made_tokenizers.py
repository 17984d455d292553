"""Small real tokenizers of many kinds, made by the `tokenizers` package from a few sentences."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = [
    "I feel happy and calm today, and nobody had written since the storm.",
    "The queue was long and the room was loud.",
    "I was sad, proud, and afraid of the end user.",
    "Then Renée said: \"It's 7 o'clock!\" So we left (late) for the café.",
]
MARK = "\N{LOWER ONE EIGHTH BLOCK}"
SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
INST = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
THINKING = CHATML.replace("m['content']", "m['content'].split('</think>')[-1].strip()")


def made(pre="byte-level", *, template=CHATML, normalizer=None, adds_bos=False, vocabulary=600, **options):
    """A fast tokenizer: `byte-level`, `llama`, or one that marks spaces by a scheme: `first`, `always`, `never`."""
    byte_level = pre == "byte-level"
    built = Tokenizer(
        models.BPE(unk_token=None if byte_level else "<unk>", byte_fallback=options.get("byte_fallback", False))
    )
    if byte_level:
        built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options.get("add_prefix_space", False))
        built.decoder = decoders.ByteLevel()
    else:
        scheme = "always" if pre == "llama" else pre
        built.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        built.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    if normalizer is not None:
        built.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else list(map(chr, range(33, 127)))
    special = SPECIAL + ([f"<0x{byte:02X}>" for byte in range(256)] if options.get("byte_fallback") else [])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    built.train_from_iterator(SENTENCES * 20, trainer)
    if pre == "llama":  # Llama 2: the marks come from its normalizer, and words are not split
        built.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
        built.pre_tokenizer = None
    if adds_bos:
        built.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.chat_template = template
    return fast
