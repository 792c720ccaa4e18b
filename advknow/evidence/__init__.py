"""Does adversarial transferability tell what a model can teach? The study (README.md here).

design      recipes, sources, targets, presets; the hypotheses, fixed before any result
images      the images of every source and target, none in common
zoo         sources and the targets' reference models, trained
truth       what each source is worth on each target: linear probe, full fine-tuning
observe     one pass: alphas, rho^2, FMD, KTD, CKA, RSA beside every reference model
labelled    what others rank sources by, on the labelled images
records     long records: their columns, files, and several of them put together
rankings    records as matrices of targets by sources, distances with their sign
verdict     what the records say of the hypotheses
run         a study, or a shard of its sources, of these stages
"""
