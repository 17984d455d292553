"""The routes `/v1/readout/...` of a server, and what they hand out; the vLLM plugin and `amygdala-tl serve` share them.

rows.py        scores of one sequence by position, and their JSON
store.py       running sequences and the last finished ones
events.py      newly generated tokens as JSON, for the stream
readers.py     readers of the stream, within bounds
metrics.py     counts for `/metrics`
rules.py       rules of alerts, as text and TOML
running.py     running means of the last tokens, of all sequences at once
webhook.py     events to an address, from a thread of their own
alerts.py      events of rules: fired, kept, handed out
concepts.py    metrics of some concepts
dashboard.py   a Grafana dashboard and Prometheus rules of these metrics
watch.py       from rows that arrive to windows and alerts
collector.py   all of these for one served readout
endpoints.py   the routes
steer.py       what a request may edit
text.py        tokens as text, up to a stop string
pages.py       the page and its scripts

Stock vLLM installs all that this room imports.
"""

__all__: list[str] = []
