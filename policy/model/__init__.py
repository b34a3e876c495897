"""The model of the policy file: one class a section, snake_case here, kebab-case in the file.

Rules of this package: what is made is frozen; cross-key rules stand beside the keys they bind (`rules`); the
file system is not looked at (`policy.files` does that, for what an enabled gateway uses).
"""

from policy.address import Address
from policy.model.acl import DocAcl, FtpCommandAcl, FtpDocAcl, HttpDocAcl, SessionAcl
from policy.model.antivirus import (
    Antivirus,
    AnyAntivirus,
    Auto,
    Builtin,
    ClamavFile,
    ClamavNet,
    DrwebFile,
    DrwebNet,
    Icap,
    IcapTls,
)
from policy.model.gateway import Gateway, Limits, ServerTls, Tls
from policy.model.mail_acl import (
    CommandAcl,
    DocumentAcl,
    Imap4CommandAcl,
    Imap4DocumentAcl,
    Imap4MailAcl,
    MailAcl,
    Pop3CommandAcl,
    Pop3DocumentAcl,
    Pop3MailAcl,
    SmtpDocumentAcl,
    SmtpMailAcl,
    UseAntivirus,
)
from policy.model.mail_gateway import Imap4Proxy, MailProxy, Pop3Proxy, SmtpProxy
from policy.model.object_gateway import FtpProxy, HttpProxy, ObjectProxy
from policy.model.policy import AnyGateway, Policy
from policy.model.stores import Audit, Cache, Metrics, Quarantine, Spool

__all__ = [
    "Address",
    "Antivirus",
    "AnyAntivirus",
    "AnyGateway",
    "Audit",
    "Auto",
    "Builtin",
    "Cache",
    "ClamavFile",
    "ClamavNet",
    "CommandAcl",
    "DocAcl",
    "DocumentAcl",
    "DrwebFile",
    "DrwebNet",
    "FtpCommandAcl",
    "FtpDocAcl",
    "FtpProxy",
    "Gateway",
    "HttpDocAcl",
    "HttpProxy",
    "Icap",
    "IcapTls",
    "Imap4CommandAcl",
    "Imap4DocumentAcl",
    "Imap4MailAcl",
    "Imap4Proxy",
    "Limits",
    "MailAcl",
    "MailProxy",
    "Metrics",
    "ObjectProxy",
    "Policy",
    "Pop3CommandAcl",
    "Pop3DocumentAcl",
    "Pop3MailAcl",
    "Pop3Proxy",
    "Quarantine",
    "ServerTls",
    "SessionAcl",
    "SmtpDocumentAcl",
    "SmtpMailAcl",
    "SmtpProxy",
    "Spool",
    "Tls",
    "UseAntivirus",
]
