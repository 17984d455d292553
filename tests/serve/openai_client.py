"""What the official `openai` client must find at any server with readouts."""

import openai
import pytest

PROMPT = "The lamp went out, and nobody"


def check_openai_client(url, model, key="none"):
    """Check models, completions and chats, whole and streamed, and errors."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    assert [one.id for one in client.models.list()] == [model]
    said = {"model": model, "temperature": 0, "max_tokens": 5}
    ids = {"extra_body": {"return_token_ids": True}}
    answer = client.completions.create(prompt=PROMPT, **said, **ids)
    (whole,) = answer.choices
    assert (whole.finish_reason, answer.usage.completion_tokens, len(whole.readout)) == ("length", 5, 5)
    chunks = list(
        client.completions.create(prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **said, **ids)
    )
    assert chunks[-1].usage.total_tokens == len(whole.prompt_token_ids) + 5
    parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(part.text for part in parts) == whole.text
    assert [token for part in parts for token in part.token_ids] == whole.token_ids
    rows = [row for part in parts for row in part.readout]
    for layers, expected in zip(rows, whole.readout, strict=True):
        for scores, wanted in zip(layers, expected, strict=True):
            assert scores == pytest.approx(wanted, rel=1e-4, abs=1e-4 * max(map(abs, wanted)))
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hello <there>"}]}]
    answer = client.chat.completions.create(messages=messages, **said)
    (chat,) = answer.choices
    assert len(chat.readout) == answer.usage.completion_tokens > 0
    chunks = list(client.chat.completions.create(messages=messages, stream=True, **said))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == chat.message.content
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.completions.create(model="another", prompt="x")
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=model, prompt="x", temperature=-1)
