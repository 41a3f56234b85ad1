from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubmitRequest(_message.Message):
    __slots__ = ("request", "ciphertext", "keys", "log_size")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LOG_SIZE_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    ciphertext: bytes
    keys: _containers.RepeatedCompositeFieldContainer[SealedKey]
    log_size: int
    def __init__(self, request: _Optional[bytes] = ..., ciphertext: _Optional[bytes] = ..., keys: _Optional[_Iterable[_Union[SealedKey, _Mapping]]] = ..., log_size: _Optional[int] = ...) -> None: ...

class SealedKey(_message.Message):
    __slots__ = ("gallery", "sealed_key")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    SEALED_KEY_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    sealed_key: bytes
    def __init__(self, gallery: _Optional[str] = ..., sealed_key: _Optional[bytes] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ("receipt", "proof", "deliveries")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    proof: LogProof
    deliveries: _containers.RepeatedCompositeFieldContainer[DeliveryStatus]
    def __init__(self, receipt: _Optional[bytes] = ..., proof: _Optional[_Union[LogProof, _Mapping]] = ..., deliveries: _Optional[_Iterable[_Union[DeliveryStatus, _Mapping]]] = ...) -> None: ...

class LogProof(_message.Message):
    __slots__ = ("entry", "salt", "index", "checkpoint", "inclusion", "since", "consistency")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    salt: bytes
    index: int
    checkpoint: bytes
    inclusion: _containers.RepeatedScalarFieldContainer[bytes]
    since: int
    consistency: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, entry: _Optional[bytes] = ..., salt: _Optional[bytes] = ..., index: _Optional[int] = ..., checkpoint: _Optional[bytes] = ..., inclusion: _Optional[_Iterable[bytes]] = ..., since: _Optional[int] = ..., consistency: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DeliveryStatus(_message.Message):
    __slots__ = ("gallery", "state", "reason", "code", "rules", "candidates", "updated_at")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    state: str
    reason: str
    code: str
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    candidates: int
    updated_at: str
    def __init__(self, gallery: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., code: _Optional[str] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., candidates: _Optional[int] = ..., updated_at: _Optional[str] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("source", "id", "effect")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    source: str
    id: str
    effect: str
    def __init__(self, source: _Optional[str] = ..., id: _Optional[str] = ..., effect: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("request_id", "answers")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    answers: bool
    def __init__(self, request_id: _Optional[str] = ..., answers: _Optional[bool] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("delivery", "done", "sealed_answer", "receipt")
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    SEALED_ANSWER_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    delivery: DeliveryStatus
    done: bool
    sealed_answer: bytes
    receipt: bytes
    def __init__(self, delivery: _Optional[_Union[DeliveryStatus, _Mapping]] = ..., done: _Optional[bool] = ..., sealed_answer: _Optional[bytes] = ..., receipt: _Optional[bytes] = ...) -> None: ...

class CollectRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class CollectResponse(_message.Message):
    __slots__ = ("deliveries", "receipt")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[CollectedDelivery]
    receipt: bytes
    def __init__(self, deliveries: _Optional[_Iterable[_Union[CollectedDelivery, _Mapping]]] = ..., receipt: _Optional[bytes] = ...) -> None: ...

class CollectedDelivery(_message.Message):
    __slots__ = ("status", "sealed_answer", "receipt")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SEALED_ANSWER_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    status: DeliveryStatus
    sealed_answer: bytes
    receipt: bytes
    def __init__(self, status: _Optional[_Union[DeliveryStatus, _Mapping]] = ..., sealed_answer: _Optional[bytes] = ..., receipt: _Optional[bytes] = ...) -> None: ...

class AcknowledgeRequest(_message.Message):
    __slots__ = ("request_id", "galleries")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GALLERIES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    galleries: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., galleries: _Optional[_Iterable[str]] = ...) -> None: ...

class AcknowledgeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("cancellation",)
    CANCELLATION_FIELD_NUMBER: _ClassVar[int]
    cancellation: bytes
    def __init__(self, cancellation: _Optional[bytes] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("deliveries",)
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[DeliveryStatus]
    def __init__(self, deliveries: _Optional[_Iterable[_Union[DeliveryStatus, _Mapping]]] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ("hello", "claim", "outcome", "cosignature")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    claim: Claim
    outcome: Outcome
    cosignature: Cosignature
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., claim: _Optional[_Union[Claim, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., cosignature: _Optional[_Union[Cosignature, _Mapping]] = ...) -> None: ...

class OpenResponse(_message.Message):
    __slots__ = ("welcome", "delivery", "withdrawal", "settled", "checkpoint", "region")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWAL_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    delivery: Delivery
    withdrawal: Withdrawal
    settled: Settled
    checkpoint: Checkpoint
    region: Region
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ..., withdrawal: _Optional[_Union[Withdrawal, _Mapping]] = ..., settled: _Optional[_Union[Settled, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., region: _Optional[_Union[Region, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("node_time", "software", "policy_digest", "log_size")
    NODE_TIME_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LOG_SIZE_FIELD_NUMBER: _ClassVar[int]
    node_time: str
    software: str
    policy_digest: str
    log_size: int
    def __init__(self, node_time: _Optional[str] = ..., software: _Optional[str] = ..., policy_digest: _Optional[str] = ..., log_size: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("hub_time", "checkpoint", "region_bundle")
    HUB_TIME_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    REGION_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    hub_time: str
    checkpoint: bytes
    region_bundle: bytes
    def __init__(self, hub_time: _Optional[str] = ..., checkpoint: _Optional[bytes] = ..., region_bundle: _Optional[bytes] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("delivery_id", "request", "requester_policy", "beneficiary_policy", "sealed_key", "ciphertext", "proof")
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_POLICY_FIELD_NUMBER: _ClassVar[int]
    BENEFICIARY_POLICY_FIELD_NUMBER: _ClassVar[int]
    SEALED_KEY_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    request: bytes
    requester_policy: bytes
    beneficiary_policy: bytes
    sealed_key: bytes
    ciphertext: bytes
    proof: LogProof
    def __init__(self, delivery_id: _Optional[str] = ..., request: _Optional[bytes] = ..., requester_policy: _Optional[bytes] = ..., beneficiary_policy: _Optional[bytes] = ..., sealed_key: _Optional[bytes] = ..., ciphertext: _Optional[bytes] = ..., proof: _Optional[_Union[LogProof, _Mapping]] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("delivery_id",)
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    def __init__(self, delivery_id: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("delivery_id", "receipt", "sealed_answer")
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    SEALED_ANSWER_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    receipt: bytes
    sealed_answer: bytes
    def __init__(self, delivery_id: _Optional[str] = ..., receipt: _Optional[bytes] = ..., sealed_answer: _Optional[bytes] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("delivery_id",)
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    def __init__(self, delivery_id: _Optional[str] = ...) -> None: ...

class Withdrawal(_message.Message):
    __slots__ = ("delivery_id",)
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    delivery_id: str
    def __init__(self, delivery_id: _Optional[str] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("note",)
    NOTE_FIELD_NUMBER: _ClassVar[int]
    note: bytes
    def __init__(self, note: _Optional[bytes] = ...) -> None: ...

class Cosignature(_message.Message):
    __slots__ = ("size", "line")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    size: int
    line: bytes
    def __init__(self, size: _Optional[int] = ..., line: _Optional[bytes] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("region_bundle",)
    REGION_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    region_bundle: bytes
    def __init__(self, region_bundle: _Optional[bytes] = ...) -> None: ...

class LatestRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LatestResponse(_message.Message):
    __slots__ = ("checkpoint",)
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: bytes
    def __init__(self, checkpoint: _Optional[bytes] = ...) -> None: ...

class ConsistencyRequest(_message.Message):
    __slots__ = ("first", "second")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    first: int
    second: int
    def __init__(self, first: _Optional[int] = ..., second: _Optional[int] = ...) -> None: ...

class ConsistencyResponse(_message.Message):
    __slots__ = ("hashes",)
    HASHES_FIELD_NUMBER: _ClassVar[int]
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, hashes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class InclusionRequest(_message.Message):
    __slots__ = ("index", "size")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    index: int
    size: int
    def __init__(self, index: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class InclusionResponse(_message.Message):
    __slots__ = ("hashes", "entry")
    HASHES_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    entry: bytes
    def __init__(self, hashes: _Optional[_Iterable[bytes]] = ..., entry: _Optional[bytes] = ...) -> None: ...
