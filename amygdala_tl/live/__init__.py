"""What a running vLLM server reads, as it reads it: a client for programs, and the screen of `amygdala-tl watch`.

client.py   the server's routes as typed records; the only file here that asks the server anything
feed.py     the client in a thread of its own, which keeps trying: what a screen is fed from
state.py    what the screen shows, from what has arrived: steady order, means, last tokens; no input or output
paint.py    that, as lines of styled text of a given width
screen.py   keys, time and the terminal
"""
