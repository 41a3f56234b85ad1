from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinRequest(_message.Message):
    __slots__ = ("secret", "agency", "node", "tls_csr", "signing_csr", "node_time")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TLS_CSR_FIELD_NUMBER: _ClassVar[int]
    SIGNING_CSR_FIELD_NUMBER: _ClassVar[int]
    NODE_TIME_FIELD_NUMBER: _ClassVar[int]
    secret: str
    agency: str
    node: str
    tls_csr: bytes
    signing_csr: bytes
    node_time: str
    def __init__(self, secret: _Optional[str] = ..., agency: _Optional[str] = ..., node: _Optional[str] = ..., tls_csr: _Optional[bytes] = ..., signing_csr: _Optional[bytes] = ..., node_time: _Optional[str] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("tls_chain", "region_bundle", "hub_time")
    TLS_CHAIN_FIELD_NUMBER: _ClassVar[int]
    REGION_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    HUB_TIME_FIELD_NUMBER: _ClassVar[int]
    tls_chain: _containers.RepeatedScalarFieldContainer[bytes]
    region_bundle: bytes
    hub_time: str
    def __init__(self, tls_chain: _Optional[_Iterable[bytes]] = ..., region_bundle: _Optional[bytes] = ..., hub_time: _Optional[str] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("tls_csr",)
    TLS_CSR_FIELD_NUMBER: _ClassVar[int]
    tls_csr: bytes
    def __init__(self, tls_csr: _Optional[bytes] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("tls_chain",)
    TLS_CHAIN_FIELD_NUMBER: _ClassVar[int]
    tls_chain: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, tls_chain: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MembershipRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MembershipResponse(_message.Message):
    __slots__ = ("agency", "confirmed", "signing_certificate", "fingerprint", "region_bundle", "hub_time")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    SIGNING_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    REGION_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    HUB_TIME_FIELD_NUMBER: _ClassVar[int]
    agency: str
    confirmed: bool
    signing_certificate: bytes
    fingerprint: str
    region_bundle: bytes
    hub_time: str
    def __init__(self, agency: _Optional[str] = ..., confirmed: _Optional[bool] = ..., signing_certificate: _Optional[bytes] = ..., fingerprint: _Optional[str] = ..., region_bundle: _Optional[bytes] = ..., hub_time: _Optional[str] = ...) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ("statements",)
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    statements: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, statements: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DirectoryRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DirectoryResponse(_message.Message):
    __slots__ = ("nodes", "region_bundle")
    NODES_FIELD_NUMBER: _ClassVar[int]
    REGION_BUNDLE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[DirectoryNode]
    region_bundle: bytes
    def __init__(self, nodes: _Optional[_Iterable[_Union[DirectoryNode, _Mapping]]] = ..., region_bundle: _Optional[bytes] = ...) -> None: ...

class DirectoryNode(_message.Message):
    __slots__ = ("agency", "node", "statement", "connected", "last_seen")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    agency: str
    node: str
    statement: bytes
    connected: bool
    last_seen: str
    def __init__(self, agency: _Optional[str] = ..., node: _Optional[str] = ..., statement: _Optional[bytes] = ..., connected: _Optional[bool] = ..., last_seen: _Optional[str] = ...) -> None: ...
