//! Stampo's agent in simulated guests: who a guest is, and what it answers.
//!
//! A guest that goes on from a memory image is the frozen one until it has been told who it is, as
//! with a real driver; a test can make it lie. Every answer passes through the protocol's own
//! encoding, so nothing is simulated that a real agent could not say.

use super::commands;
use super::state::Guest;
use crate::{DriverError, MemoryImage};
use serde::{Deserialize, Serialize};
use stampo_agent_protocol::{
    Addressing, Cidr, Connected, Decoder, Done, Evidence, Few, ForkReport, ForkRequest, Hello,
    Hex32, HostKey, Interface, Item, KeyKind, Mac, Outcome, Request, Response, SshKeys,
    SystemState, Timings, VERSION, WakeReport, WakeRequest, decode_response, encode_request,
    encode_response,
};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// How guests behave that go on from a memory image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForkManners {
    /// They become what they are told.
    #[default]
    Honest,
    /// Their generators go on from the same state, as without a reseed.
    SameRandomness,
    /// They say that they could not set their clock.
    NoClock,
    /// They all keep one host key, and say that they made it.
    SameHostKey,
    /// They say that they have no user of that name.
    NoUser,
    /// They get no address once they are plugged in.
    NoAddress,
    /// They wait for one for as long as they may.
    SlowAddress,
    /// Stampo's agent does not answer, in no guest.
    Silent,
}

/// What the agent of a guest would tell of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inside {
    machine_id: String,
    hostname: String,
    boot_id: String,
    macs: Vec<[u8; 6]>,
    addresses: Vec<Vec<String>>,
    /// Kind and number, in hex.
    host_keys: Vec<(KeyKind, String)>,
}

impl Inside {
    /// Who a guest is after this start: whoever was frozen, or whom its disk knows.
    pub fn after_start(guest: &Guest, origin: Option<&MemoryImage>) -> Self {
        let boot_id = Uuid::new_v4().to_string();
        if let Some(image) = origin {
            return Inside::known_as(image.generation_id, &boot_id, image.macs.iter());
        }
        let macs = guest.definition.nics.iter().map(|nic| &nic.mac);
        if guest.inside.machine_id.is_empty() {
            return Inside::known_as(guest.definition.id.0, &boot_id, macs);
        }
        Inside {
            boot_id,
            macs: macs.map(|mac| mac.0).collect(),
            ..guest.inside.clone()
        }
    }

    fn known_as<'a>(
        who: Uuid,
        boot_id: &str,
        macs: impl Iterator<Item = &'a stampo_core::network::Mac>,
    ) -> Self {
        Inside {
            machine_id: who.simple().to_string(),
            hostname: "template".to_owned(),
            boot_id: boot_id.to_owned(),
            macs: macs.map(|mac| mac.0).collect(),
            addresses: Vec::new(),
            host_keys: vec![(KeyKind::Ed25519, who.simple().to_string())],
        }
    }

    fn interfaces(&self, link_up: bool) -> Few<Interface, 32> {
        Few::first(self.macs.iter().enumerate().map(|(index, mac)| {
            let addresses = self.addresses.get(index).into_iter().flatten();
            Interface {
                name: format!("enp{}s0", index + 1),
                mac: Mac(*mac),
                link_up,
                addresses: Few::first(addresses.filter_map(|text| text.parse::<Cidr>().ok())),
            }
        }))
    }

    fn evidence(&self, nonce: Hex32, links_up: bool, manners: ForkManners) -> Evidence {
        let randomness = match manners {
            ForkManners::SameRandomness => Hex32([7; 32]),
            _ => Hex32(*blake3::hash(Uuid::new_v4().as_bytes()).as_bytes()),
        };
        Evidence {
            nonce,
            randomness,
            uuid: Uuid::new_v4().to_string(),
            machine_id: self.machine_id.clone(),
            hostname: self.hostname.clone(),
            boot_id: self.boot_id.clone(),
            interfaces: self.interfaces(links_up),
            host_keys: Few::first(self.host_keys.iter().map(host_key)),
            kernel: "6.1.0-simulated".to_owned(),
            has_vmgenid: false,
            clock_unix_ns: now_ns(),
            uptime_ms: 1,
        }
    }

    fn become_own(&mut self, request: &ForkRequest, manners: ForkManners) {
        self.machine_id = request.identity.machine_id.clone();
        let short = request.identity.hostname.split('.').next();
        self.hostname = short.unwrap_or_default().to_owned();
        self.boot_id = Uuid::new_v4().to_string();
        self.addresses = Vec::new();
        for mac in &mut self.macs {
            let nic = request.nics.iter().find(|nic| nic.old_mac.0 == *mac);
            let fixed = nic.and_then(|nic| {
                *mac = nic.new_mac.0;
                match &nic.addressing {
                    Addressing::Dhcp => None,
                    Addressing::Static(network) => Some(network.addresses.iter()),
                }
            });
            let texts = fixed.into_iter().flatten().map(ToString::to_string);
            self.addresses.push(texts.collect());
        }
        if let SshKeys::Make(kinds) = &request.ssh_keys {
            let number = match manners {
                ForkManners::SameHostKey => Uuid::nil(),
                _ => Uuid::new_v4(),
            };
            self.host_keys = kinds
                .iter()
                .map(|kind| (*kind, number.simple().to_string()))
                .collect();
        }
    }
}

fn host_key((kind, number): &(KeyKind, String)) -> HostKey {
    let text = format!("AAAA{number:0>64}");
    let print = blake3::hash(text.as_bytes()).to_hex();
    HostKey {
        kind: *kind,
        public: format!("{} {text}", kind.algorithm()),
        fingerprint: format!("SHA256:{}", &print[..43]),
    }
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn fork(guest: &mut Guest, request: &ForkRequest, manners: ForkManners) -> Response {
    guest.inside.become_own(request, manners);
    for login in request.logins.iter() {
        let keys: String = login.keys.iter().map(|key| format!("{key}\n")).collect();
        let path = format!("~{}/.ssh/authorized_keys", login.user);
        guest.files.insert(path, keys.into_bytes());
    }
    let items = [
        Item::Randomness,
        Item::Clock,
        Item::Mac,
        Item::MachineId,
        Item::Hostname,
        Item::SshKeys,
        Item::Logins,
        Item::Durable,
    ];
    Response::Forked(Box::new(ForkReport {
        items: Few::first(items.map(|item| done(item, manners))),
        hooks: Few::default(),
        took_us: 1,
        evidence: guest
            .inside
            .evidence(request.nonce, !guest.links_down, manners),
    }))
}

fn wake(guest: &Guest, request: &WakeRequest, manners: ForkManners) -> Response {
    Response::Woken(Box::new(WakeReport {
        items: Few::first([Item::Randomness, Item::Clock].map(|item| done(item, manners))),
        took_us: 1,
        evidence: guest
            .inside
            .evidence(request.nonce, !guest.links_down, manners),
    }))
}

fn done(item: Item, manners: ForkManners) -> Done {
    Done {
        item,
        outcome: match (item, manners) {
            (Item::Clock, ForkManners::NoClock) => Outcome::Failed {
                why: "no such clock".to_owned(),
            },
            (Item::Logins, ForkManners::NoUser) => Outcome::Failed {
                why: "the guest has no such user".to_owned(),
            },
            _ => Outcome::Done,
        },
        took_us: 1,
    }
}

fn connect(guest: &mut Guest, manners: ForkManners) -> Response {
    let has_address = ![ForkManners::NoAddress, ForkManners::SlowAddress].contains(&manners);
    let complete = !guest.links_down && has_address;
    if complete {
        let count = guest.inside.macs.len();
        guest.inside.addresses.resize(count, Vec::new());
        for addresses in &mut guest.inside.addresses {
            if addresses.is_empty() {
                addresses.push("10.0.2.15/24".to_owned());
            }
        }
    }
    Response::Connected(Connected {
        complete,
        interfaces: guest.inside.interfaces(!guest.links_down),
        took_us: 1,
    })
}

/// What a guest says that has started, unless a test has it say something else.
const STARTED: Timings = Timings {
    uptime_ms: 2,
    system: SystemState::Running,
    jobs: Some(0),
    failed_units: Some(0),
    initrd_ms: None,
    userspace_ms: Some(1),
    agent_ms: Some(1),
    finished_ms: Some(2),
};

pub(super) fn failed(why: String) -> DriverError {
    DriverError::Program {
        program: "stampo's agent in the guest".to_owned(),
        why,
    }
}

/// What the agent answers, and what becomes of the guest by it.
pub(super) fn answer(
    guest: &mut Guest,
    request: &Request,
    manners: ForkManners,
) -> Result<Response, DriverError> {
    // What a real driver could not send is not asked either.
    encode_request(1, request).map_err(|e| failed(e.to_string()))?;
    let up = !guest.links_down;
    let response = match request {
        Request::Hello => Response::Hello(Hello {
            agent: "simulated".to_owned(),
            version: VERSION,
            kernel: "6.1.0-simulated".to_owned(),
            has_vmgenid: false,
            uptime_ms: 1,
        }),
        Request::Identify { nonce } => {
            Response::Identity(Box::new(guest.inside.evidence(*nonce, up, manners)))
        }
        Request::Prepare => Response::Prepared,
        Request::Fork(request) => fork(guest, request, manners),
        Request::Wake(request) => wake(guest, request, manners),
        Request::Connect(_) => connect(guest, manners),
        Request::Timings => Response::Timings(guest.timings.clone().unwrap_or(STARTED)),
        Request::ExecStart(request) => commands::start(guest, request),
        Request::ExecPoll(request) => commands::poll(guest, request),
        Request::ExecSignal(request) => commands::signal(guest, request),
        Request::Shutdown { .. } => Response::ShuttingDown,
    };
    if manners == ForkManners::Silent {
        return Err(DriverError::AgentSilent {
            guest: guest.definition.id,
            waited: std::time::Duration::ZERO,
        });
    }
    let bytes = encode_response(1, &response).map_err(|e| failed(e.to_string()))?;
    let frame = Decoder::new().next(&mut bytes.as_slice());
    let frame = frame.map_err(|e| failed(e.to_string()))?;
    let frame = frame.ok_or_else(|| failed("half a frame".to_owned()))?;
    decode_response(&frame).map_err(|e| failed(e.to_string()))
}

fn manners_path(dir: &Path) -> PathBuf {
    dir.join(".fork-manners")
}

/// Keeps how forks behave from now on.
pub(super) fn set_manners(dir: &Path, manners: ForkManners) -> Result<(), DriverError> {
    let path = manners_path(dir);
    let text =
        serde_json::to_vec(&manners).map_err(|e| DriverError::io("encode", &path)(e.into()))?;
    fs::write(&path, text).map_err(DriverError::io("write", &path))
}

/// How forks behave.
pub(super) fn manners(dir: &Path) -> Result<ForkManners, DriverError> {
    let path = manners_path(dir);
    let text = match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(ForkManners::default()),
        read => read.map_err(DriverError::io("read", &path))?,
    };
    serde_json::from_slice(&text).map_err(|e| DriverError::io("parse", &path)(e.into()))
}
