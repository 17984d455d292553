"""Tables, progress bars, coloured text and one HTML page from records; this room computes nothing."""

__all__: list[str] = []
