"""A finished job told in FHIR R4, and the client that delivers it.

The distribution `fhir.resources` owns the import name `fhir` too; the path is extended so that
both live under it, from the source tree, from an editable install and from a wheel.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
