"""A server on TransformerLens: chat and completions with a readout of every token, and a page that shows it.

requests.py    bodies of requests, decoded and checked
prompts.py     token ids of prompts and conversations
steers.py      a request's `steer` as edits
sampling.py    the next token from logits
engine.py      the thread that runs the model, one token of each sequence in turn
generation.py  one request's sequences, from the engine to its answer
answers.py     answers in the shape of OpenAI's
guard.py       who may ask
app.py         the application: all of these at their routes
"""

from typing import TYPE_CHECKING

from amygdala_tl.lazy import lazily

if TYPE_CHECKING:
    from amygdala_tl.serve.app import readout_app

__all__ = ["readout_app"]

__getattr__ = lazily(__name__, app="readout_app")
