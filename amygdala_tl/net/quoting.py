"""A server's own words in a message: short, on one line, and without the token.

A server that repeats the token may do so in pieces or in another encoding. Words in which a part of the token is found are
therefore withheld as a whole.
"""

import base64
import codecs
import reprlib
import unicodedata

QUOTED = 300
"""Characters of a server's words in a message."""

WITHHELD = "(withheld, since it repeats the token)"
_LOOKED_AT = 8 * QUOTED
_PART = 8  # letters and digits of the token that no other text has by chance


def quoted(words: object, secret: str | None) -> str:
    """Return `words` as one short line, with `secret` replaced by `***`; decoded JSON is shown in part."""
    text = str(words) if isinstance(words, str | Exception) else reprlib.repr(words)
    text = " ".join(text[:_LOOKED_AT].split())
    if secret:
        text = text.replace(secret, "***")
        if _repeats(text, secret):
            return WITHHELD
    return text if len(text) <= QUOTED else text[:QUOTED] + "..."


def _repeats(text: str, secret: str) -> bool:
    """Whether a part of `secret` is in `text`, in whatever case, split by spaces and signs, backwards or encoded."""
    raw = secret.encode()
    numbers = ("".join(form % code for code in raw) for form in ("%02x", "%d", "0x%02x", "x%02x", "u%04x", "%o"))
    plain = [secret, codecs.encode(secret, "rot13"), base64.b32encode(raw).decode(), base64.b85encode(raw).decode()]
    # In Base64 of a longer text the token begins at one of three places, and its ends mix with their neighbours.
    shifted = [base64.b64encode(b"\0" * pad + raw).decode()[4 * (pad > 0) :].rstrip("=")[:-1] for pad in range(3)]
    looked_at = _letters(text)
    forms = [_letters(form) for form in (*plain, *numbers, *shifted)]
    return any(
        part in looked_at
        for form in forms
        for side in (form, form[::-1])
        for start in range(max(1, len(side) - _PART + 1))
        if len(part := side[start : start + _PART]) >= min(_PART, len(_letters(secret))) > 3
    )


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
