"""Why texts are left out of a corpus, as a summary counts them."""

NO_EXAMPLE = "no example of any concept"
TOO_SHORT = "too short"
DUPLICATE = "duplicate text"
NOT_UNICODE = "not valid Unicode"
