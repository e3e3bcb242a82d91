//! What a fork is told: everything that makes it a machine of its own, in one message.
//!
//! Pure but for the clock and the random values. Whether the guest could do it is asked before
//! anything is made, in `preflight.rs`; what it answers is judged in `fork.rs`.

use crate::error::EngineError;
use stampo_agent_protocol::{
    Addressing, Cidr, Few, ForkRequest, Hex32, Identity, KeyKind, Login, Mac,
    Network as AgentNetwork, Nic, Secret, SshKeys,
};
use stampo_core::instant::{Fork, logins};
use stampo_core::personalisation::{Network, Personalisation};
use stampo_core::plan::GuestPlan;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// How long all hooks of the template's author together may take.
const HOOKS: Duration = Duration::from_secs(30);

/// The host's wall clock, in nanoseconds since 1970.
pub(super) fn now_ns() -> Result<u64, EngineError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(EngineError::room("read the clock"))?;
    Ok(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// What a guest is told to become. The seed and the nonce are never used again.
pub(super) fn fork_request(plan: &GuestPlan, fork: &Fork) -> Result<ForkRequest, EngineError> {
    let asked = plan.personalisation.as_ref();
    let hostname = asked.map_or_else(|| plan.name.to_string(), |own| own.hostname.clone());
    let nics = fork.origin.macs.iter().zip(&plan.nics);
    let nics = nics.map(|(old, plan)| Nic {
        old_mac: Mac(old.0),
        new_mac: Mac(plan.mac.0),
        addressing: addressing(&plan.network),
    });
    let seed: [[u8; 32]; 2] = [rand::random(), rand::random()];
    Ok(ForkRequest {
        clock_unix_ns: now_ns()?,
        seed: Secret::new(seed.concat()),
        nonce: Hex32(rand::random()),
        identity: Identity {
            hostname,
            machine_id: Uuid::new_v4().simple().to_string(),
        },
        nics: Few::first(nics),
        ssh_keys: SshKeys::Make(Few::first([KeyKind::Ed25519])),
        logins: asked.map(told_logins).transpose()?.unwrap_or_default(),
        run_hooks: true,
        hook_limit_ms: u32::try_from(HOOKS.as_millis()).unwrap_or(u32::MAX),
    })
}

/// Nobody is left out silently: too many is an error.
fn told_logins(asked: &Personalisation) -> Result<Few<Login, 16>, EngineError> {
    let too_many = || EngineError::Usage {
        act: "tell an instant clone who may log in".to_owned(),
        why: "these are more than 16 users, or more than 64 keys of one user".to_owned(),
    };
    let login = |login: stampo_core::instant::Login| {
        let user = login.user;
        Few::new(login.keys).map(|keys| Login { user, keys })
    };
    let told: Option<Vec<Login>> = logins(asked).into_iter().map(login).collect();
    told.and_then(Few::new).ok_or_else(too_many)
}

fn addressing(network: &Network) -> Addressing {
    match network {
        Network::Dhcp => Addressing::Dhcp,
        Network::Static {
            address,
            gateway,
            dns,
        } => Addressing::Static(AgentNetwork {
            addresses: Few::first([Cidr {
                address: address.address,
                prefix: address.prefix,
            }]),
            gateways: Few::first(*gateway),
            dns: Few::first(dns.iter().copied()),
        }),
    }
}
