"""A folder of texts of one's own becomes a readout that reads a text (README: "From a memory graph to scores")."""

# The README: `--training-data-dir` also takes a folder with `joy/positive/*.txt` and `joy/negative/*.txt` for each emotion.
sh("amygdala-tl train --model my-model --training-data-dir my-texts --output readout.safetensors")
sh('amygdala-tl read --readout readout.safetensors "Nobody has written since Thursday."')
