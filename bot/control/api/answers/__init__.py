"""What answers say: one model a JSON body, from which the OpenAPI document is made.

The routes write their answers themselves, and no answer is validated or written anew while it is served: the tests hold
every answer they see against these models. New fields may be added to an answer: whoever reads passes over what they do
not know.
"""

from __future__ import annotations

from bot.control.api.answers.audit import Audit
from bot.control.api.answers.base import Reply
from bot.control.api.answers.copies import ConsentCopy, ConsentLink
from bot.control.api.answers.house import (
    ClinicConfiguration,
    ConsentForm,
    Liveness,
    Me,
    Readiness,
    ReceiptKeys,
    SignedIn,
)
from bot.control.api.answers.notes import (
    AudioReceipt,
    DraftReceipt,
    Inbox,
    InboxItem,
    Inputs,
    Note,
    NoteAsked,
    Notes,
    Receipts,
    TranscriptReceipt,
)
from bot.control.api.answers.records import (
    Client,
    ClinicReceipt,
    ClinicReceipts,
    DeletionReceipt,
    ExportReceipt,
    Hold,
    HoldReceipt,
    Holds,
)
from bot.control.api.answers.sessions import (
    Acknowledged,
    Admitted,
    ClientSession,
    ConsentAcknowledged,
    ConsentAnswers,
    InputAdded,
    NewSession,
    Seat,
    Session,
    Sessions,
    SharedMicrophone,
    Transcript,
)
from bot.control.api.answers.webhooks import Deliveries, Delivery, NewWebhook, Webhook, Webhooks

__all__ = [
    "Acknowledged",
    "Admitted",
    "AudioReceipt",
    "Audit",
    "Client",
    "ClientSession",
    "ClinicConfiguration",
    "ClinicReceipt",
    "ClinicReceipts",
    "ConsentAcknowledged",
    "ConsentAnswers",
    "ConsentCopy",
    "ConsentForm",
    "ConsentLink",
    "DeletionReceipt",
    "Deliveries",
    "Delivery",
    "DraftReceipt",
    "ExportReceipt",
    "Hold",
    "HoldReceipt",
    "Holds",
    "Inbox",
    "InboxItem",
    "InputAdded",
    "Inputs",
    "Liveness",
    "Me",
    "NewSession",
    "NewWebhook",
    "Note",
    "NoteAsked",
    "Notes",
    "Readiness",
    "ReceiptKeys",
    "Receipts",
    "Reply",
    "Seat",
    "Session",
    "Sessions",
    "SharedMicrophone",
    "SignedIn",
    "Transcript",
    "TranscriptReceipt",
    "Webhook",
    "Webhooks",
]
