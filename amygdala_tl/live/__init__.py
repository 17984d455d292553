"""Live readouts of a running vLLM server: a client for programs, and the screen of `amygdala-tl watch`.

client.py   the server's routes; the only file here that talks to the server
answers.py  the server's JSON, decoded into the records of records.py
feed.py     the client in its own thread, which keeps trying and feeds the screen
state.py    the content of the screen: steady order, means, last tokens; without input or output
paint.py    the content as lines of styled text of a given width
screen.py   keys, time and the terminal
"""

from amygdala_tl.live.client import ReadoutClient, readout_client
from amygdala_tl.live.records import Generated, Sequence, Served

__all__ = ["Generated", "ReadoutClient", "Sequence", "Served", "readout_client"]
