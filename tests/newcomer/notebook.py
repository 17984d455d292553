"""A notebook shows a readout, its verdicts and a text with coloured tokens (README: "Install" and "In Python")."""

import nbformat  # comes with `pip install 'amygdala-tl[notebook]'`
from nbclient import NotebookClient

CELLS = (
    'import amygdala_tl as at\n\nreadout = at.load_readout("readout.safetensors")\nreadout',
    "readout.verdicts",
    'at.score_tokens(["The lamp went out."], readout)[0]',
)
made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
NotebookClient(made, timeout=300, kernel_name="python3").execute()
shown = [cell.outputs[-1]["data"]["text/html"] for cell in made.cells]
assert all("<table" in html for html in shown[:2])
assert "lamp" in shown[2]
