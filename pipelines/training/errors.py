"""What can go wrong before or after training, said so that it can be put right."""


class TrainingError(Exception):
    """Stops the command; its text says what is wrong, with which file, and what to do."""
