"""The stages joined: what the command line and a program call.

extract_corpus -> capture -> fit -> export_readout -> score_texts
"""
