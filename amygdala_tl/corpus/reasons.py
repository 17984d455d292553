"""Why texts are left out of a corpus, as a summary counts them."""

OTHER_TYPE = "other type"
NO_VALID_SCORE = "no valid score"
SCORE_IGNORED = "score outside 0-10 (ignored)"
NO_EXAMPLE = "no example of any concept"
TOO_SHORT = "too short"
DUPLICATE = "duplicate text"
NOT_UNICODE = "not valid Unicode"


def unusable(text: str, *, key: str = "", min_chars: int = 1, scoreless: bool = False) -> str | None:
    """Return the reason to drop a stripped text, if there is one: its length, its invalid tag line, or lone surrogates."""
    if len(text) < max(1, min_chars):  # an empty text has no token
        return TOO_SHORT
    if scoreless:
        return NO_VALID_SCORE
    try:
        (key + text).encode()  # a program may pass lone surrogates, which no file and no tokenizer accepts
    except UnicodeEncodeError:
        return NOT_UNICODE
    return None
