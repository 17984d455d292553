"""Tokenizers that lose part of a text are refused where a model enters; those that only fold it are not."""

import dataclasses
import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from amygdala_tl.errors import ModelError
from amygdala_tl.lens.round_trip import check_tokenizer
from tests.lens.made_tokenizers import made

FOLDS = [
    normalizers.Lowercase(),
    normalizers.NFKC(),
    normalizers.NFD(),
    normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
]
LOSES = [" ", "storm", ",", "é", "I", "7", "(", '"']


@pytest.mark.parametrize("kind", ["byte-level", "first", "always", "never", "llama"])
def test_tokenizers_of_every_kind_keep_plain_sentences(kind):
    check_tokenizer(made(kind))


@pytest.mark.parametrize("fold", FOLDS, ids=str)
def test_a_tokenizer_that_folds_case_accents_or_forms_is_taken(fold):
    check_tokenizer(made(normalizer=fold))


@pytest.mark.parametrize("kind", ["byte-level", "first"])
def test_a_tokenizer_without_a_decoder_is_taken(kind):
    tokenizer = made(kind)
    tokenizer.backend_tokenizer.decoder = None
    check_tokenizer(tokenizer)


@pytest.mark.parametrize("lost", LOSES)
def test_a_tokenizer_that_loses_spaces_words_or_marks_is_named(lost):
    with pytest.raises(ModelError, match="TokenizersBackend: the tokenizer loses part of a text"):
        check_tokenizer(made(normalizer=normalizers.Replace(lost, "")))


def test_a_tokenizer_that_does_not_know_the_words_is_named():
    built = Tokenizer(models.WordLevel({"<unk>": 0, "I": 1, "the": 2, "and": 3}, unk_token="<unk>"))
    built.pre_tokenizer, built.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece()
    with pytest.raises(ModelError, match="loses part"):
        check_tokenizer(PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>"))


def test_an_accent_that_the_vocabulary_lacks_is_no_loss():
    tokenizer = made("first")
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("é", "\N{SNOWMAN}")
    assert tokenizer.unk_token_id in tokenizer("café").input_ids
    check_tokenizer(tokenizer)


def test_the_class_of_another_tokenizer_over_the_same_files_is_named(tmp_path):
    made().save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "LlamaTokenizerFast"}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    if type(tokenizer).__name__ != "LlamaTokenizer":
        pytest.skip("this version of transformers builds the tokenizer of the files, whatever class they name")
    with pytest.raises(ModelError, match=r"LlamaTokenizer: .*feltwarm"):
        check_tokenizer(tokenizer)


def test_a_tokenizer_that_fails_or_gives_no_offsets_is_named():
    class Fails(PreTrainedTokenizerFast):
        def __call__(self, *args, **options):
            raise RuntimeError("no vocabulary\nhere")

    with pytest.raises(ModelError, match=r"Fails: the tokenizer fails .*no vocabulary"):
        check_tokenizer(Fails(tokenizer_object=made().backend_tokenizer))
    with pytest.raises(ModelError, match="offsets"):
        check_tokenizer(ByT5Tokenizer())


def test_no_lens_has_such_a_tokenizer(tiny):
    with pytest.raises(ModelError, match="loses part"):
        dataclasses.replace(tiny, tokenizer=made(normalizer=normalizers.Replace(" ", "")))
    dataclasses.replace(tiny, tokenizer=made())
