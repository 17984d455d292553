"""The routes `/v1/readout/...` of a server, and what they hand out; the vLLM plugin and `amygdala-tl serve` share them.

rows.py        scores of one sequence by position, and their JSON
store.py       running sequences and the last finished ones
events.py      newly generated tokens as JSON, for the stream
readers.py     readers of the stream, within bounds
metrics.py     counts for `/metrics`
collector.py   all of these for one served readout
endpoints.py   the routes

Stock vLLM installs all that this room imports.
"""

__all__: list[str] = []
