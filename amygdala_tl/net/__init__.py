"""HTTP for clients that a server can neither exhaust, nor hold up, nor make print a secret; and a port to serve on.

address.py   addresses and bearer tokens, checked before a request
quoting.py   a server's own words in a message, without the token
proxies.py   the environment's proxies and certificates
client.py    an httpx client with a deadline for every answer, and bodies of bounded size
sse.py       server-sent events of bounded size
loopback.py  an application on a port of this machine
"""

__all__: list[str] = []
