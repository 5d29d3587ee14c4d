"""Errors of the demo.

DemoError
├── InvalidNifti      a file is no NIfTI-1 volume that we can place exactly
├── InvalidSeg        a SEG cannot be laid on the grid of its truth
├── NodeDidNotStart   the node's process ended or never answered C-ECHO
├── NodeEnded         the node's process ended in the middle of the demo
├── RoutingFailed     the node refused an instance, or the association was lost
└── OutFolderTaken    the folder for the results holds something that is not ours
"""

from __future__ import annotations


class DemoError(Exception):
    """Anything that ends the demo early; the message is fit for the person who started it."""


class InvalidNifti(DemoError):
    """The file is damaged, or its geometry is none that DICOM can state."""


class InvalidSeg(DemoError):
    """The SEG's own tags do not put its voxels on the voxels of the truth."""


class NodeDidNotStart(DemoError):
    """The child process is not there; its log says why."""


class NodeEnded(DemoError):
    """The child process is gone before its work was done."""


class RoutingFailed(DemoError):
    """Some instances did not reach the node."""


class OutFolderTaken(DemoError):
    """We replace our own folders only."""
