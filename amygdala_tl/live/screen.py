"""The terminal of `amygdala-tl watch`: keys and painting."""

import time
from dataclasses import replace
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.events import Key, Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from amygdala_tl.live import paint
from amygdala_tl.live.client import ReadoutClient
from amygdala_tl.live.feed import Arrived, Connected, Feed, Waiting
from amygdala_tl.live.state import KEPT, LiveState, View

_PERIOD = 0.1  # seconds between paints: faster than anyone reads, slow enough for a remote terminal
_WIDE = 100  # minimum cells to put the tokens beside the bars instead of below
_KEYS = "0 all layers  1-9 layer  r raw/z  m now/mean  space hold  ? help  q quit"
_KEYS_NARROW = "0-9 r m space ? help q quit"
_HELP = """\
1-9, ← →   layer: 1 is the first of the readout
0          one score over all layers, if the readout has it
r          raw projections, or z-scores
m          last token, or mean of the last 64
space      hold the picture, or resume
?          this help
q          quit

A bar is a concept's score, ░ if negative, · if nothing
shows that the concept is read; │ is the mean of the last
64 tokens. Rows follow that mean. z counts
standard deviations of the scores of ordinary tokens. A
line of text is what the server sent at once: a token if
answers are streamed.
"""


class Help(ModalScreen[None]):
    """The list of keys; any key but q closes it."""

    DEFAULT_CSS = """
    Help { align: center middle; }
    Help Static { width: 60; max-width: 100%; height: auto; max-height: 100%; border: round ansi_default; padding: 0 1; }
    """

    _leaving = False

    def compose(self) -> ComposeResult:
        """Show the text."""
        yield Static(Content(_HELP + "\nany other key closes this"))

    def on_key(self, event: Key) -> None:
        """Close once, even if several keys are waiting; `q` quits."""
        if event.key == "q":
            self.app.exit()
        elif not self._leaving:
            self._leaving = True
            self.dismiss()


class WatchApp(App[None]):
    """The screen for the readouts of one server."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #header { height: 2; }
    #trouble { height: auto; display: none; }
    #body { height: 1fr; layout: vertical; }
    #body.wide { layout: horizontal; }
    #chart { height: 1fr; }
    #pieces { height: 6; }
    #body.wide #chart { width: 3fr; height: 1fr; }
    #body.wide #pieces { width: 2fr; height: 1fr; margin-left: 2; }
    #keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True),
        Binding("r", "raw", "raw or z"),
        Binding("m", "mean", "now or recent mean"),
        Binding("space", "hold", "hold"),
        Binding("question_mark", "help", "help"),
        Binding("left", "layer_by(-1)", "layer"),
        Binding("right", "layer_by(1)", "layer"),
        Binding("0", "all_layers", "all layers"),
        *(Binding(str(digit), f"layer({digit - 1})", "layer") for digit in range(1, 10)),
    ]

    def __init__(self, client: ReadoutClient) -> None:
        """Take over `client`."""
        super().__init__(ansi_color=True)
        self._server = client.label
        self._feed = Feed(client)
        self._state: LiveState | None = None
        self._model = ""
        self._waiting: Waiting | None = None
        self._view = View()
        self._held = False
        self._picture: object = None
        self._painted: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """Lay out the header, the trouble, bars with tokens, and the keys."""
        yield Static(id="header")
        yield Static(id="trouble")
        with Container(id="body"):
            yield Static(id="chart")
            yield Static(id="pieces")
        yield Static(id="keys")

    def on_mount(self) -> None:
        """Start reading and painting."""
        self._feed.start()
        self.set_interval(_PERIOD, self._tick)

    def on_unmount(self) -> None:
        """Stop reading."""
        self._feed.stop()

    def on_resize(self, event: Resize) -> None:
        """Put the tokens beside the bars if they fit, and repaint after the layout."""
        wide = event.size.width >= _WIDE
        self.query_one("#body").set_class(wide, "wide")
        self.query_one("#pieces").styles.height = None if wide else max(3, event.size.height // 4)
        self.call_after_refresh(self._paint)

    def action_layer(self, index: int) -> None:
        """Show the layer with this index, if it exists."""
        if self._state is not None and 0 <= index < len(self._state.served.layers):
            self._look(replace(self._view, layer=index))

    def action_layer_by(self, step: int) -> None:
        """Show a lower or higher layer; below the first one is the score over all layers."""
        index = (-1 if self._view.layer is None else self._view.layer) + step
        if index < 0:
            self.action_all_layers()
        else:
            self.action_layer(index)

    def action_all_layers(self) -> None:
        """Show the score over all layers, if the readout has one."""
        if self._state is not None and self._state.served.combined is not None:
            self._look(replace(self._view, layer=None))

    def action_raw(self) -> None:
        """Switch between raw projections and z-scores."""
        self._look(replace(self._view, raw=not self._view.raw))

    def action_mean(self) -> None:
        """Switch between the last token and the mean of recent ones."""
        self._look(replace(self._view, mean=not self._view.mean))

    def action_hold(self) -> None:
        """Hold the picture, or resume."""
        self._held = not self._held
        self._paint()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def _look(self, view: View) -> None:
        self._view = view
        self._paint()

    def _tick(self) -> None:
        if self._held:
            return  # updates wait in the feed, which drops the oldest
        for update in self._feed.take():
            if isinstance(update, Waiting):
                self._waiting = update
                continue
            self._connect(update.connected if isinstance(update, Arrived) else update)
            if isinstance(update, Arrived) and self._state is not None:
                self._state.add(update.generated, update.at)
        self._paint()

    def _connect(self, connected: Connected) -> None:
        self._waiting, self._model = None, connected.model
        served = connected.served
        if self._state is None or self._state.served.digest != served.digest:
            self._state = LiveState(served)
            layer = 0 if served.reading_layer is None else served.layers.index(served.reading_layer)
            self._view = replace(self._view, layer=layer if served.combined is None else None)

    def _paint(self) -> None:
        """Paint what has changed, so that an idle screen costs nothing."""
        state, view, width = self._state, self._view, self.size.width
        served = None if state is None else state.served
        rate, tokens = (0.0, 0) if state is None else (state.rate(time.monotonic()), state.tokens)
        self._put("header", paint.header(served, self._model, self._server, view, rate, tokens, width))
        trouble = [] if self._waiting is None else paint.trouble_lines(self._waiting, width)
        self._place("trouble").display = bool(trouble)
        self._put("trouble", trouble)
        self._put("keys", [Content.styled(paint.fitted(self._keys(width), width), paint.QUIET)])
        chart, pieces = self._place("chart").size, self._place("pieces").size
        before, self._picture = self._picture, (state, tokens, view, chart, pieces)
        if self._picture == before:
            return
        if state is None or not state.anything:
            said = "" if state is None else "connected; waiting for the first token that the server generates"
            self._put("chart", [Content(paint.fitted(said, chart.width))])
            self._put("pieces", [])
            return
        self._put("chart", paint.chart_lines(state.chart(view), state.served, view, chart.width, chart.height))
        kept = state.pieces(view, min(KEPT, pieces.height))
        self._put("pieces", paint.piece_lines(kept, state.served.concepts, pieces.width, pieces.height))

    def _keys(self, width: int) -> str:
        keys = _KEYS if width >= len(_KEYS) else _KEYS_NARROW
        return f"HELD (space goes on)  {keys}" if self._held else keys

    def _put(self, name: str, lines: list[Content]) -> None:
        text = Content("\n").join(lines)
        if self._painted.get(name) != text.plain:  # equal words have equal colours
            self._painted[name] = text.plain
            self._place(name).update(text, layout=name == "trouble")  # only this height depends on the text

    def _place(self, name: str) -> Static:
        # On the first screen, since the help may be on top.
        return self.screen_stack[0].query_one(f"#{name}", Static)
