"""Every error that amygdala-tl raises on purpose, in one tree.

    AmygdalaError
    |-- InputError               what was given cannot be used (arguments, paths, names)
    |-- MemoryGraphError         the memory graph cannot be read
    |   |-- ServerUnreachable    no answer, or none that is MCP
    |   |-- ServerRefused        an answer that says no (authorisation, protocol, a failing tool)
    |   `-- GraphFileError       a graph file that is not what it should be
    |-- CorpusError              no corpus can be made of it, or a corpus folder is damaged
    |-- ModelError               the model cannot be loaded, or has no such layer
    |-- ActivationStoreError     the activation store is damaged or does not fit the model
    |-- FitError                 no direction can be computed
    |-- ReadoutError             a readout bundle is damaged or does not fit
    |-- LiveReadoutError         a vLLM server's readouts cannot be read
    |   |-- LiveUnreachable      no answer, or one that is none of a readout
    |   |-- ReadoutsOff          the server has no readouts
    |   |-- KeyRefused           the server wants another API key
    |   |-- RequestUnknown       no such request, or forgotten
    |   `-- ReadoutChanged       the server came back with another readout
    `-- StorageError             the disk refused (full, read-only, a file where a folder should be)

Each is built from facts and ends with what to do next:

    raise ModelError("layer 40 does not exist", got="--target-layers 40", need="0..29 or -30..-1",
                     remedy="choose layers below 30")

On the command line an `AmygdalaError` is one message and exit code 2, never a traceback.
"""


class AmygdalaError(Exception):
    """What went wrong, with the facts and the remedy.

    Attributes:
        what: the problem, one clause.
        label: what it is about (a concept, a file, an address), or None.
        got: what was found, or None.
        need: what was needed, or None.
        remedy: what to do next, or None.
    """

    def __init__(
        self,
        what: str,
        *,
        label: object = None,
        got: object = None,
        need: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.label = label
        self.got = got
        self.need = need
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        head = self.what if self.label is None else f"{self.label}: {self.what}"
        facts = [f"{name}: {value}" for name, value in (("got", self.got), ("need", self.need)) if value is not None]
        message = head + (f" ({'; '.join(facts)})" if facts else "") + "."
        return message if self.remedy is None else f"{message} {self.remedy[:1].upper()}{self.remedy[1:]}."


class InputError(AmygdalaError):
    """What was given cannot be used (arguments, paths, names)."""


class MemoryGraphError(AmygdalaError):
    """The memory graph cannot be read."""


class ServerUnreachable(MemoryGraphError):
    """No answer from the memory server, or none that is MCP."""


class ServerRefused(MemoryGraphError):
    """The memory server answered, and said no."""


class GraphFileError(MemoryGraphError):
    """A graph file is not what it should be."""


class CorpusError(AmygdalaError):
    """No corpus can be made of it, or a corpus folder is damaged."""


class ModelError(AmygdalaError):
    """The model cannot be loaded, or has no such layer."""


class ActivationStoreError(AmygdalaError):
    """The activation store is damaged or does not fit the model."""


class FitError(AmygdalaError):
    """No direction can be computed."""


class ReadoutError(AmygdalaError):
    """A readout bundle is damaged or does not fit."""


class LiveReadoutError(AmygdalaError):
    """A vLLM server's readouts cannot be read."""


class LiveUnreachable(LiveReadoutError):
    """No answer from the vLLM server, or one that is none of a readout."""


class ReadoutsOff(LiveReadoutError):
    """The server answers, and has no readouts."""


class KeyRefused(LiveReadoutError):
    """The server wants an API key that it did not get."""


class RequestUnknown(LiveReadoutError):
    """The server has no rows of this request: it never ran there, or is forgotten."""


class ReadoutChanged(LiveReadoutError):
    """The server came back with another readout than before."""


class StorageError(AmygdalaError):
    """The disk refused: full, read-only, or a file where a folder should be."""
