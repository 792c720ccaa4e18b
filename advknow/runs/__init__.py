"""What a workdir keeps, and how a run goes on (README.md beside this file).

session                a process at work in a workdir: claim it, measure in it, finish it
unfinished             snapshots of stages that are not done
snapshots              arrays in one file that is whole or refused
checkpoints            a model's variables, by orbax
journal                metrics.jsonl: what happened when
files                  files that are whole or not there
settings               changing a configuration by dotted names
records                long records: a line a number
by_name                models that commands are told by name
adversarial_examples   x and delta in a file
versions               what a number depends on beside the code
"""
