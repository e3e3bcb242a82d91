//! Messages to the kernel's routing socket (rtnetlink(7)), written and read by hand.
//!
//! The crates for it bring an async runtime or a hundred message types; four are needed here.
//! All numbers are in the byte order of the machine.

use crate::outcome::{Doing, Failure};
use rustix::fd::OwnedFd;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// linux/netlink.h and linux/rtnetlink.h.
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
const DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;
/// The kernel's dumps come in pieces of at most this (NLMSG_GOODSIZE and its successors).
const BUFFER_BYTES: usize = 32 << 10;

/// A message in the making: its fixed part, then attributes.
pub(super) struct Message {
    kind: u16,
    body: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u16, fixed: &[u8]) -> Self {
        Message {
            kind,
            body: fixed.to_vec(),
        }
    }

    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = (4 + value.len()) as u16;
        self.body.extend(length.to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    fn bytes(&self, flags: u16) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.extend(((HEADER_BYTES + self.body.len()) as u32).to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(&self.body);
        bytes
    }
}

/// One entry of the kernel's answer: its fixed part and what follows.
pub(super) struct Entry(Vec<u8>);

impl Entry {
    /// The byte at this place of the fixed part.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// The number at this place of the fixed part.
    pub(super) fn number(&self, at: usize) -> u32 {
        number(&self.0, at).unwrap_or(0)
    }

    /// The value of the first attribute of this kind behind a fixed part of `fixed` bytes.
    pub(super) fn attribute(&self, fixed: usize, kind: u16) -> Option<&[u8]> {
        let mut rest = self.0.get(fixed..)?;
        loop {
            let length = usize::from(short(rest, 0)?);
            let value = rest.get(4..length)?;
            // The two highest bits are flags (linux/netlink.h: NLA_TYPE_MASK).
            if short(rest, 2)? & 0x3fff == kind {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }
}

/// An open routing socket.
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open() -> Result<Self, Failure> {
        let what = "open a routing socket";
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is protocol 0.
            None,
        )
        .doing(what)?;
        bind(&fd, &SocketAddrNetlink::new(0, 0)).doing(what)?;
        Ok(Socket(fd))
    }

    /// Changes something; the kernel's answer decides.
    pub(super) fn change(&self, message: &Message, what: &str) -> Result<(), Failure> {
        self.acknowledged(message, ACK, what)
    }

    /// Makes something, or replaces the one that is there.
    pub(super) fn put(&self, message: &Message, what: &str) -> Result<(), Failure> {
        self.acknowledged(message, ACK | CREATE | REPLACE, what)
    }

    fn acknowledged(&self, message: &Message, flags: u16, what: &str) -> Result<(), Failure> {
        send(&self.0, &message.bytes(flags), SendFlags::empty()).doing(what)?;
        self.answer(what).map(drop)
    }

    /// Everything of a kind.
    pub(super) fn dump(&self, message: &Message, what: &str) -> Result<Vec<Entry>, Failure> {
        send(&self.0, &message.bytes(DUMP), SendFlags::empty()).doing(what)?;
        self.answer(what)
    }

    /// Reads to the end of a dump, or to the acknowledgement.
    fn answer(&self, what: &str) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let (count, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty()).doing(what)?;
            let mut rest = &buffer[..count];
            while let (Some(length), Some(kind)) = (number(rest, 0), short(rest, 4)) {
                let length = length as usize;
                let Some(body) = rest.get(HEADER_BYTES..length) else {
                    return Err(Failure(format!("{what}: the kernel's answer is cut off")));
                };
                match kind {
                    NLMSG_DONE => return Ok(entries),
                    NLMSG_ERROR => {
                        let code = number(body, 0).unwrap_or(0) as i32;
                        if code == 0 {
                            return Ok(entries);
                        }
                        let error = std::io::Error::from_raw_os_error(-code);
                        return Err(Failure(format!("{what}: {error}")));
                    }
                    _ => entries.push(Entry(body.to_vec())),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}
