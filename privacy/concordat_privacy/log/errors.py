"""The root of the log's exceptions."""


class LogError(ValueError):
    """Something about a leaf, a proof, a checkpoint or an export is wrong; the text names what."""


class CheckpointError(LogError):
    """A note, checkpoint or key is malformed, or its signature does not verify."""
