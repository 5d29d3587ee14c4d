"""From received pixels to findings: volumes, models and result objects."""
