"""The catalogue of errors: every way in which Liaison says no, in one place.

Each code has a gRPC status (for the wire), an exit code (for the shell), a sentence that may be shown to
anybody, and what to do next. Exit codes come in bands:

    2        wrong usage of a command (click's own)
    10..19   what was handed in: pictures, manifests, files
    20..29   identity: joining, certificates, clocks
    30..39   policy: files and decisions
    40..49   the log: proofs, checkpoints, witnesses
    50..59   the broker and the wire
    60..69   engines and galleries
    70       a defect in Liaison itself

`detail` is for logs and operators; it never carries a face, a name, a template or a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Code(str, Enum):
    """The name of an error, the same on the wire, in JSON and in logs."""

    # 10..19: what was handed in
    IMAGE_UNREADABLE = "image-unreadable"
    IMAGE_TOO_LARGE = "image-too-large"
    NO_FACE = "no-face"
    SEVERAL_FACES = "several-faces"
    FACE_NOT_THERE = "face-not-there"
    PROBE_QUALITY = "probe-quality"
    REQUEST_INVALID = "request-invalid"
    MANIFEST_INVALID = "manifest-invalid"
    ROW_INVALID = "row-invalid"
    IMPORT_INCOMPLETE = "import-incomplete"
    FILE_MISSING = "file-missing"
    CONFIG_INVALID = "config-invalid"
    HOME_EXISTS = "home-exists"
    HOME_MISSING = "home-missing"
    # 20..29: identity
    TOKEN_INVALID = "token-invalid"  # noqa: S105 - an error's name
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 - an error's name
    TOKEN_USED = "token-used"  # noqa: S105 - an error's name
    ROOT_MISMATCH = "root-mismatch"
    CERTIFICATE_INVALID = "certificate-invalid"
    CERTIFICATE_REVOKED = "certificate-revoked"
    IDENTITY_UNKNOWN = "identity-unknown"
    NOT_AUTHORIZED = "not-authorized"
    AGENCY_UNKNOWN = "agency-unknown"
    AGENCY_EXISTS = "agency-exists"
    NODE_UNKNOWN = "node-unknown"
    AGENCY_NOT_CONFIRMED = "agency-not-confirmed"
    FINGERPRINT_MISMATCH = "fingerprint-mismatch"
    SIGNATURE_INVALID = "signature-invalid"
    CLOCK_SKEW = "clock-skew"
    KEY_UNREADABLE = "key-unreadable"
    # 30..39: policy
    POLICY_INVALID = "policy-invalid"
    POLICY_MISSING = "policy-missing"
    POLICY_DENIES = "policy-denies"
    POLICY_ROLLBACK = "policy-rollback"
    APPROVAL_MISSING = "approval-missing"
    # 40..49: the log
    LOG_UNAVAILABLE = "log-unavailable"
    PROOF_INVALID = "proof-invalid"
    CHECKPOINT_INVALID = "checkpoint-invalid"
    CHECKPOINT_INCONSISTENT = "checkpoint-inconsistent"
    LOG_DAMAGED = "log-damaged"
    # 50..59: broker and wire
    HUB_UNREACHABLE = "hub-unreachable"
    REQUEST_UNKNOWN = "request-unknown"
    REQUEST_EXPIRED = "request-expired"
    REQUEST_REPLAYED = "request-replayed"
    GALLERY_UNKNOWN = "gallery-unknown"
    SEAL_BROKEN = "seal-broken"
    LINK_SUPERSEDED = "link-superseded"
    MESSAGE_TOO_LARGE = "message-too-large"
    STATE_CONFLICT = "state-conflict"
    TOO_MANY_REQUESTS = "too-many-requests"
    # 60..69: engines and galleries
    ENGINE_MISSING = "engine-missing"
    ENGINE_DAMAGED = "engine-damaged"
    ENGINE_UNAVAILABLE = "engine-unavailable"
    GALLERY_BUSY = "gallery-busy"
    GALLERY_DAMAGED = "gallery-damaged"
    GALLERY_ABSENT = "gallery-absent"
    INDEX_UNAVAILABLE = "index-unavailable"
    STORAGE_FAILED = "storage-failed"
    # 70: ours
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue holds for one code.

    `status` is the name of a gRPC status code, `says` the public sentence, `next` what to do about it.
    """

    status: str
    exit: int
    says: str
    next: str


CATALOGUE: dict[Code, Entry] = {
    Code.IMAGE_UNREADABLE: Entry(
        "INVALID_ARGUMENT", 10, "The picture cannot be read.",
        "Check that the file is a whole JPEG, PNG, WebP, BMP or TIFF picture and export it again if it is not.",
    ),
    Code.IMAGE_TOO_LARGE: Entry(
        "INVALID_ARGUMENT", 10, "The picture is too large to be opened safely.",
        "Crop it, or scale it down to at most 40 megapixels, and try again.",
    ),
    Code.NO_FACE: Entry(
        "FAILED_PRECONDITION", 11, "No face was found in the picture.",
        "Use a picture in which the face is at least 40 pixels wide and not turned away.",
    ),
    Code.SEVERAL_FACES: Entry(
        "FAILED_PRECONDITION", 11, "There are several faces in the picture and none was picked.",
        "Pick one by its number with --face N; the others are masked before anything leaves the agency.",
    ),
    Code.FACE_NOT_THERE: Entry(
        "INVALID_ARGUMENT", 11, "There is no face with that number in the picture.",
        "Pick one of the numbers listed.",
    ),
    Code.PROBE_QUALITY: Entry(
        "FAILED_PRECONDITION", 11, "The face is not good enough to be searched.",
        "Find a sharper, larger or more frontal picture of the same person.",
    ),
    Code.REQUEST_INVALID: Entry(
        "INVALID_ARGUMENT", 12, "The request is not complete or not well formed.",
        "Correct the field that is named and send it again.",
    ),
    Code.MANIFEST_INVALID: Entry(
        "INVALID_ARGUMENT", 13, "The manifest cannot be used.",
        "Correct the line that is named; nothing of this manifest was imported.",
    ),
    Code.ROW_INVALID: Entry(
        "INVALID_ARGUMENT", 13, "A row of the source is not complete or not well formed.",
        "Correct the row that is named; the others were not affected.",
    ),
    Code.IMPORT_INCOMPLETE: Entry(
        "FAILED_PRECONDITION", 14, "Some rows were skipped; all the others are in the gallery.",
        "Correct the rows that are named and run the same import again: what is there already is not done twice.",
    ),
    Code.FILE_MISSING: Entry("NOT_FOUND", 15, "A file or folder is not there.", "Check the path."),
    Code.CONFIG_INVALID: Entry(
        "FAILED_PRECONDITION", 16, "The configuration file cannot be used.", "Correct the entry that is named.",
    ),
    Code.HOME_EXISTS: Entry(
        "ALREADY_EXISTS", 17, "This folder has been set up already.",
        "Use it as it is, or choose another folder with --home.",
    ),
    Code.HOME_MISSING: Entry(
        "FAILED_PRECONDITION", 17, "This folder has not been set up.", "Run the `init` command first, or name the right folder with --home.",
    ),
    Code.TOKEN_INVALID: Entry(
        "UNAUTHENTICATED", 20, "The join token is not valid.", "Ask the coordinator for a new token and paste it whole.",
    ),
    Code.TOKEN_EXPIRED: Entry(
        "UNAUTHENTICATED", 20, "The join token has expired.", "Ask the coordinator for a new token.",
    ),
    Code.TOKEN_USED: Entry(
        "UNAUTHENTICATED", 20, "The join token has been used already.",
        "If it was not you, tell the coordinator at once. Otherwise ask for a new token.",
    ),
    Code.ROOT_MISMATCH: Entry(
        "UNAUTHENTICATED", 21, "The hub that answered is not the hub that the token names.",
        "Do not go on: check the address, and ask the coordinator whether the token is right. Nothing was sent.",
    ),
    Code.CERTIFICATE_INVALID: Entry(
        "UNAUTHENTICATED", 22, "The certificate is not one that this region accepts.", "Join again with a new token.",
    ),
    Code.CERTIFICATE_REVOKED: Entry(
        "PERMISSION_DENIED", 22, "This node's certificate has been revoked.",
        "Ask the coordinator why; a new token is needed to join again.",
    ),
    Code.IDENTITY_UNKNOWN: Entry(
        "UNAUTHENTICATED", 22, "This identity is not registered here.", "Join with a token from the coordinator.",
    ),
    Code.NOT_AUTHORIZED: Entry(
        "PERMISSION_DENIED", 23, "This identity may not do that.", "Ask the coordinator of the region.",
    ),
    Code.AGENCY_UNKNOWN: Entry(
        "NOT_FOUND", 24, "No agency of that name is registered.", "See the registered agencies with `hub agency list`.",
    ),
    Code.AGENCY_EXISTS: Entry(
        "ALREADY_EXISTS", 24, "An agency of that name is registered already.", "Use it, or choose another id.",
    ),
    Code.NODE_UNKNOWN: Entry(
        "NOT_FOUND", 24, "No node of that name is registered.", "See an agency's nodes with `hub agency show`.",
    ),
    Code.AGENCY_NOT_CONFIRMED: Entry(
        "FAILED_PRECONDITION", 25, "The agency's signing key has not been confirmed by the coordinator.",
        "Read the key's fingerprint to the coordinator, who confirms it with `hub agency confirm`.",
    ),
    Code.FINGERPRINT_MISMATCH: Entry(
        "FAILED_PRECONDITION", 25, "The fingerprint is not that of the key that is waiting.",
        "Do not confirm it: compare it again with the agency, over the telephone.",
    ),
    Code.SIGNATURE_INVALID: Entry(
        "UNAUTHENTICATED", 26, "A signature does not verify.", "Treat it as tampering until it is explained; nothing was done.",
    ),
    Code.CLOCK_SKEW: Entry(
        "FAILED_PRECONDITION", 27, "The clocks of the two machines differ by too much.",
        "Set this machine's clock by NTP and try again.",
    ),
    Code.KEY_UNREADABLE: Entry(
        "FAILED_PRECONDITION", 28, "A private key cannot be read.", "Check the key's file, its owner and its permissions (0600).",
    ),
    Code.POLICY_INVALID: Entry(
        "INVALID_ARGUMENT", 30, "The policy file is not valid.", "Correct the place that is named; until then everything is refused.",
    ),
    Code.POLICY_MISSING: Entry(
        "FAILED_PRECONDITION", 31, "There is no policy in force, so everything is refused.", "Publish a policy for the agency.",
    ),
    Code.POLICY_DENIES: Entry(
        "PERMISSION_DENIED", 32, "Policy does not permit this search.", "Read the rule that is named; a new request may meet it.",
    ),
    Code.POLICY_ROLLBACK: Entry(
        "FAILED_PRECONDITION", 33, "An older version of a policy was offered in place of a newer one.",
        "Treat it as tampering until it is explained; the newer version stays in force.",
    ),
    Code.APPROVAL_MISSING: Entry(
        "FAILED_PRECONDITION", 34, "The search waits for an approval.", "Ask the person whom the rule names.",
    ),
    Code.LOG_UNAVAILABLE: Entry(
        "UNAVAILABLE", 40, "The log cannot be written, so nothing was accepted.", "Try again later; if it lasts, tell the hub's operator.",
    ),
    Code.PROOF_INVALID: Entry(
        "FAILED_PRECONDITION", 41, "The request is not proven to be in the log, so it was not opened.",
        "Treat it as tampering until it is explained; tell the hub's operator.",
    ),
    Code.CHECKPOINT_INVALID: Entry(
        "FAILED_PRECONDITION", 42, "The log's checkpoint is not well formed or not signed by the log.",
        "Treat it as tampering until it is explained; tell the hub's operator.",
    ),
    Code.CHECKPOINT_INCONSISTENT: Entry(
        "FAILED_PRECONDITION", 43, "The log contradicts what it said before: history was changed.",
        "Stop searching and call the auditor; keep both checkpoints, they are the evidence.",
    ),
    Code.LOG_DAMAGED: Entry(
        "DATA_LOSS", 44, "The log does not verify.", "Keep it as it is and call the auditor.",
    ),
    Code.HUB_UNREACHABLE: Entry(
        "UNAVAILABLE", 50, "The hub cannot be reached.", "Check the address and the network; the node goes on trying.",
    ),
    Code.REQUEST_UNKNOWN: Entry(
        "NOT_FOUND", 51, "No request of that id is known for this agency.", "Check the id.",
    ),
    Code.REQUEST_EXPIRED: Entry(
        "DEADLINE_EXCEEDED", 52, "The request's deadline has passed.", "Send a new request.",
    ),
    Code.REQUEST_REPLAYED: Entry(
        "ALREADY_EXISTS", 53, "The id of this request was used before with other contents.",
        "Treat it as tampering until it is explained; an event was logged.",
    ),
    Code.GALLERY_UNKNOWN: Entry(
        "NOT_FOUND", 54, "No gallery of that name is registered.", "Check its name, or leave --gallery out: then every gallery of the region is asked.",
    ),
    Code.SEAL_BROKEN: Entry(
        "INVALID_ARGUMENT", 55, "A sealed message cannot be opened: it was changed, or sealed for somebody else.",
        "Send the request again; if it happens twice, treat it as tampering.",
    ),
    Code.LINK_SUPERSEDED: Entry(
        "ABORTED", 56, "Another process has connected with this node's identity, and the newest wins.",
        "Stop one of the two. If you started only one, the key has been copied: revoke it and join again.",
    ),
    Code.MESSAGE_TOO_LARGE: Entry(
        "RESOURCE_EXHAUSTED", 57, "The message is larger than the wire allows.", "Crop the picture closer to the face.",
    ),
    Code.STATE_CONFLICT: Entry(
        "FAILED_PRECONDITION", 58, "That is not possible in the present state.", "Look at the present state and decide again.",
    ),
    Code.TOO_MANY_REQUESTS: Entry(
        "RESOURCE_EXHAUSTED", 59, "Too many attempts in a short time.", "Wait a minute and try again.",
    ),
    Code.ENGINE_MISSING: Entry(
        "FAILED_PRECONDITION", 60, "The face engine is not installed.", "Run `agency-node engine pull`.",
    ),
    Code.ENGINE_DAMAGED: Entry(
        "FAILED_PRECONDITION", 61, "A file of the face engine is not the pinned one.",
        "Remove the engine's folder and run `agency-node engine pull` again.",
    ),
    Code.ENGINE_UNAVAILABLE: Entry(
        "UNAVAILABLE", 62, "The face engine's files cannot be fetched.", "Check that npm works on this machine, and try again.",
    ),
    Code.GALLERY_BUSY: Entry(
        "FAILED_PRECONDITION", 63, "Another process is using the gallery's files.", "Wait for it to end, or stop it, and try again.",
    ),
    Code.GALLERY_DAMAGED: Entry(
        "DATA_LOSS", 64, "The gallery's files do not agree with each other.", "Keep them as they are and restore the node's folder from its backup; the index is rebuilt from the records by itself.",
    ),
    Code.GALLERY_ABSENT: Entry(
        "FAILED_PRECONDITION", 65, "This node has no gallery of that name.", "Declare it in the agency's policy file.",
    ),
    Code.INDEX_UNAVAILABLE: Entry(
        "UNAVAILABLE", 66, "The gallery's Milvus does not answer.", "Check that it is running and that milvus_uri is right; the records are safe.",
    ),
    Code.STORAGE_FAILED: Entry(
        "UNAVAILABLE", 67, "The disk cannot be written or read.",
        "Check its free space and permissions, and run the same again; a file that is damaged has to come back from a backup.",
    ),
    Code.INTERNAL: Entry(
        "INTERNAL", 70, "Something went wrong inside Liaison.", "Try again; if it happens twice, report it with the log's lines.",
    ),
}  # fmt: skip


class LiaisonError(Exception):
    """An error of the catalogue.

    `code` finds the public sentence; `detail` is one sentence more for this case, safe to show: no face, name,
    template or key belongs in it.
    """

    def __init__(self, code: Code, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(self.sentence)

    @property
    def entry(self) -> Entry:
        """The catalogue's entry of this error."""
        return CATALOGUE[self.code]

    @property
    def sentence(self) -> str:
        """The public sentence, with the detail of this case if there is one."""
        says = CATALOGUE[self.code].says
        return f"{says} {self.detail}" if self.detail else says

    def diagnostics(self) -> str:
        """Sentence and next step, as a person reads them."""
        return f"{self.sentence}\n{self.entry.next}"

    def as_json(self) -> dict[str, str]:
        """The same for a machine."""
        return {"error": self.code.value, "says": self.sentence, "next": self.entry.next}
