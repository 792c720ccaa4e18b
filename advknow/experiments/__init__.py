"""The experiments and the single commands: settings in, a record out (README.md beside this file).

adv2know, know2adv   the poster's two experiments as presets (theory.md section 6); `presets`
config, settings     what a configuration holds, and changing it by dotted names
tasks                data: disjoint source, labelled and target parts
stages               trains, audits, attacks, measures, transfers; each can be gone on with
quantities           what a row measures, and how reports show it
run                  an experiment, of these stages
results              what comes out, and its files
correlation          over the rows, with what it needs to be believed
loading              models and images that commands are told by name
train, finetune, measure, chain   the single commands, on the same stages
"""
