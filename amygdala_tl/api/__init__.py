"""The public verbs, one file each: what a command does, a program does by the same name.

extract -> capture -> fit -> judge -> score, evaluate, cross_talk, steer, verify        train = capture + fit + judge
"""

__all__: list[str] = []
