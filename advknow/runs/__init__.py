"""What a workdir keeps: files, snapshots, checkpoints, unfinished work, journal, versions."""
