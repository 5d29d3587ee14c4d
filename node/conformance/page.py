"""The page: prose around the tables, in the order of PS3.2."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.charset import python_encoding

from node.conformance.answers import aborts, rejections, scp_statuses, scu_statuses
from node.conformance.markdown import code
from node.conformance.network import configuration, implementation, transport_security
from node.conformance.sop_classes import scp_section, scu_section
from node.conformance.web import store_client

_HEAD = """# DICOM conformance statement

radnode takes studies from a PACS by C-STORE, runs segmentation models on them, and returns DICOM
SEG and SR objects by C-STORE or STOW-RS. This statement follows PS3.2 in short. It is made by
`python -m node.conformance` from the tables that the program runs by.

## Application entities

- **Receiver**: listens for associations; Verification, Storage and the services below as SCP. It
  may ask a sender's PACS, as C-FIND SCU, how many instances a study has.
- **Deliverer**: opens associations to each configured DICOM destination; Storage as SCU. Objects
  of one job go over one association, segmentations before the reports that refer to them. It may
  ask for storage commitment, and reports on the commitments that were asked of this node. To a
  destination that speaks DICOMweb it is a client of STOW-RS.

Both call themselves by `node.ae_title`; a destination may be called with a title of its own.

## Services"""

_NEGOTIATION = """## Associations

### Policy

- Called AE title: must be ours, unless that is switched off on a loopback address. Calling AE
  title and source address: must be those of a configured sender. A wrong address is answered as
  an unknown title is. Titles are compared without leading and trailing spaces.
- Maximum Length Received is `receive.max_pdu_bytes`; a PDU that announces more than is allowed
  ends the association. As SCU we send no PDU longer than the peer's maximum.
- Several associations run side by side, up to `receive.max_associations`.

### Extended negotiation

- Asynchronous Operations Window: not negotiated; one operation at a time. Requests that come
  before the answer to the one before are worked off in order.
- SOP Class Extended and Common Extended Negotiation: not used; proposals are not answered.
- User Identity: not used; a proposal is not answered, and proves nothing. TLS certificates and
  addresses say who somebody is.
- Items and sub-items of other types: ignored. A presentation context id that is even, or there
  twice, ends the association.
- SCP/SCU Role Selection: answered where the table of services names the role SCP.
"""

_DATA = """## Data sets

- Data sets are kept byte for byte as they come (level 2, full); nothing is coerced. The File Meta
  Information is ours.
- The same SOP Instance UID again: an identical data set is answered Success and changes nothing;
  a different one is kept as the newest, and the older one stays while a job needs it.
- Identity is taken from SOP Class, SOP Instance, Study and Series Instance UID, Patient ID and its
  issuer. A UID may hold digits and dots only, at most 64 characters.

### Rejection notes (IHE IOCM, RAD-66)

- Key Object Selections with the titles 113001, 113037 and 113038 take back the instances of their
  study that they name: those are not analysed any more, jobs on them stop, and results are
  withdrawn. 113039 stops jobs that have not ended, and nothing else. Whose notes count is a setting
  of the sender (`rejection_notes`). Other titles are kept, and change nothing.
- Instances of 113001, 113037 and 113038 that come again are kept, and not analysed.
- The same titles on a SEG or SR of ours withdraw the result at all other receivers, where the note
  comes from a sender of its images or from a destination that got it (`rejected_results`).
- A destination may be sent such notes on results that newer ones replace (`superseded`), with the
  title 113001 or 113039 and without a Document Title Modifier.

### Character sets

Specific Character Set (0008,0005) may have each of these defined terms, alone or with code
extensions: {charsets}. An unknown term is not a reason to refuse an instance: its
text is decoded as far as possible. Result objects are written in ISO_IR 192 (UTF-8).

## Security

- Nobody may send by default: `receive.senders` is an allow list of titles and addresses.
- Log, audit trail and status hold no patient data, and UIDs as a short hash only.
- Received files are private to the account that runs the node, and are swept when a transfer was
  cut short.
- Rejected associations and identity conflicts stand in the audit trail.
"""

_CONFIGURATION = """## Configuration
"""


def conformance_statement() -> str:
    """Return the whole page as Markdown."""
    charsets = ", ".join(code(term) for term in sorted(filter(None, python_encoding)))
    parts: Iterable[Iterable[str]] = (
        (_HEAD, ""),
        scp_section(),
        scu_section(),
        ("",),
        store_client(),
        ("", "## Statuses", ""),
        scp_statuses(),
        ("",),
        scu_statuses(),
        (_NEGOTIATION,),
        rejections(),
        aborts(),
        implementation(),
        (_DATA.format(charsets=charsets),),
        transport_security(),
        (_CONFIGURATION,),
        configuration(),
    )
    lines = (line for part in parts for line in part)
    return _without_double_gaps("\n".join(lines))


def _without_double_gaps(text: str) -> str:
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip("\n") + "\n"
