"""The errors that amygdala-tl raises on purpose, in one tree.

    AmygdalaError
    |-- InputError               an argument, path or name is invalid
    |-- MemoryGraphError         the memory graph cannot be read
    |   |-- ServerUnreachable    the memory server does not answer, or does not speak MCP
    |   |-- ServerRefused        the memory server refuses (authorisation, protocol, a failing tool)
    |   `-- GraphFileError       a graph file is malformed
    |-- CorpusError              the source gives no corpus, or a corpus folder is damaged
    |-- ModelError               the model cannot be loaded, or has no such layer
    |-- ActivationStoreError     the activation store is damaged or does not fit the model
    |-- FitError                 a direction cannot be computed
    |-- ReadoutError             a readout bundle is damaged or does not fit the model
    |-- LiveReadoutError         the readouts of a vLLM server cannot be read
    |   |-- LiveUnreachable      the server does not answer, or answers without a readout
    |   |-- ReadoutsOff          the server runs without readouts
    |   |-- KeyRefused           the server requires another API key
    |   |-- RequestUnknown       the server does not have the request, or no longer
    |   `-- ReadoutChanged       the server has restarted with another readout
    `-- StorageError             the disk refused (full, read-only, a file in place of a folder)

An error holds facts, and its message ends with what to do next:

    raise ModelError("no such layer", got=40, need="0..29 or -30..-1", remedy="choose layers below 30")

The message is safe to print: control characters in a fact are escaped, and a long fact is shortened. The attributes keep
what was given. The command line prints an `AmygdalaError` as one message, without a traceback, and exits with code 2.
"""

from amygdala_tl.show import safe, shortened


class AmygdalaError(Exception):
    """Base of all errors: what went wrong, with the facts and the remedy.

    Attributes:
        what: the problem, one clause.
        label: the subject (a concept, a file, an address), or None.
        got: what was found, or None.
        need: what was needed, or None.
        remedy: what to do next, or None.
    """

    def __init__(
        self, what: str, *, label: object = None, got: object = None, need: object = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.label = label
        self.got = got
        self.need = need
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        head = self.what if self.label is None else f"{shortened(self.label)}: {self.what}"
        facts = [f"{name}: {shortened(it)}" for name, it in (("got", self.got), ("need", self.need)) if it is not None]
        message = head + (f" ({'; '.join(facts)})" if facts else "") + "."
        return safe(message if self.remedy is None else f"{message} {self.remedy[:1].upper()}{self.remedy[1:]}.")


class InputError(AmygdalaError):
    """An argument, path or name is invalid."""


class MemoryGraphError(AmygdalaError):
    """The memory graph cannot be read."""


class ServerUnreachable(MemoryGraphError):
    """The memory server does not answer, or does not speak MCP."""


class ServerRefused(MemoryGraphError):
    """The memory server refuses: authorisation, protocol, or a failing tool."""


class GraphFileError(MemoryGraphError):
    """A graph file is malformed."""


class CorpusError(AmygdalaError):
    """The source gives no corpus, or a corpus folder is damaged."""


class ModelError(AmygdalaError):
    """The model cannot be loaded, or has no such layer."""


class ActivationStoreError(AmygdalaError):
    """The activation store is damaged or does not fit the model."""


class FitError(AmygdalaError):
    """A direction cannot be computed."""


class ReadoutError(AmygdalaError):
    """A readout bundle is damaged or does not fit the model."""


class LiveReadoutError(AmygdalaError):
    """The readouts of a vLLM server cannot be read."""


class LiveUnreachable(LiveReadoutError):
    """The vLLM server does not answer, or answers without a readout."""


class ReadoutsOff(LiveReadoutError):
    """The server runs without readouts."""


class KeyRefused(LiveReadoutError):
    """The server requires another API key."""


class RequestUnknown(LiveReadoutError):
    """The server does not have the request, or no longer."""


class ReadoutChanged(LiveReadoutError):
    """The server has restarted with another readout."""


class StorageError(AmygdalaError):
    """The disk refused: full, read-only, or a file in place of a folder."""
